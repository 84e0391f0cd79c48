"""Systems that are broken on purpose: `python -m chaos.mutants NAME PROGRAM …` runs a program of such a one.

Each takes away one thing that a promise rests on. The checker must see the difference.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable
from types import MappingProxyType

from api.dispatch import Answer, Dispatcher
from database import projection
from orders import lifecycle
from orders.commands import ChangeStatus, PlaceOrder
from orders.order import OrderRecord, StatusChange
from orders.status import TRANSITIONS, OrderStatus

# Long enough that a killed API loses some.
LATE_SECONDS = 2.0


def no_version_guard() -> None:
    """Let a late projection overwrite a newer one."""
    insert = projection._INSERT_ORDER  # noqa: SLF001 - a mutant reaches in
    projection._ORDER = insert.on_conflict_do_update(  # noqa: SLF001
        index_elements=["id"],
        set_={name: insert.excluded[name] for name in ("status", "version", "updated_at")},
    )


def no_deduplication() -> None:
    """Forget which commands were carried out."""

    def find(record: OrderRecord, command: ChangeStatus) -> StatusChange | None:  # noqa: ARG001 - forgotten
        return None

    lifecycle.find = find


def extra_transition() -> None:
    """Let an order be cancelled while it is PROCESSING."""
    more = (*TRANSITIONS[OrderStatus.PROCESSING], OrderStatus.CANCELLED)
    vars(lifecycle)["TRANSITIONS"] = MappingProxyType({**TRANSITIONS, OrderStatus.PROCESSING: more})


def acknowledge_first() -> None:
    """Answer 202 before Temporal has the command."""
    sending: set[asyncio.Task[Answer | None]] = set()
    really_place, really_change = Dispatcher.place, Dispatcher.change

    def later(send: Callable[[], asyncio.Task[Answer | None]]) -> None:
        def start() -> None:
            task = send()
            sending.add(task)
            task.add_done_callback(sending.discard)

        asyncio.get_running_loop().call_later(LATE_SECONDS, start)

    async def place(self: Dispatcher, command: PlaceOrder, *, wait: bool) -> None:
        later(lambda: asyncio.create_task(really_place(self, command, wait=wait)))

    async def change(self: Dispatcher, order_id: object, command: ChangeStatus, *, wait: bool) -> None:
        later(lambda: asyncio.create_task(really_change(self, order_id, command, wait=wait)))  # type: ignore[arg-type]

    Dispatcher.place = place  # type: ignore[method-assign]
    Dispatcher.change = change  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    "no-version-guard": no_version_guard,
    "no-deduplication": no_deduplication,
    "extra-transition": extra_transition,
    "acknowledge-first": acknowledge_first,
}


def main() -> None:
    """Break the system, and become the program."""
    MUTANTS[sys.argv[1]]()
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
