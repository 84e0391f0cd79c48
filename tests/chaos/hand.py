"""A small run written by hand, in which every promise is kept; each test breaks one of them."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chaos.checker import check
from chaos.evidence import OrderEvidence
from chaos.finding import Finding
from chaos.fold import Run, Signal, Story, story_of_record
from chaos.journal import Call, Entry, Record
from chaos.order_in_time import check_time
from chaos.quiet import Quiet

ORDER = "0190c7b2-6f00-7000-8000-000000000001"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ITEMS = [{"product_id": "laptop", "quantity": 1, "unit_price": "999.99"}]

PLACED = Call(
    id="c1-1.1",
    command="c1-1",
    kind="place",
    via="http",
    key="c1-1",
    body={"customer_id": "c1-1", "items": ITEMS},
    sent=1.0,
    answered=2.0,
    outcome="done",
    http=201,
    shown_order=ORDER,
    shown_status="PENDING",
    version=1,
)
SHIPPED = Call(
    id="c2-1.1",
    command="c2-1",
    kind="change",
    via="http",
    order=ORDER,
    status="SHIPPED",
    key="c2-1",
    sent=5.0,
    answered=6.0,
    outcome="done",
    http=200,
    shown_order=ORDER,
    shown_status="SHIPPED",
    shown_time="2026-01-05T12:00:05Z",
    version=3,
)
DELIVERED = replace(
    SHIPPED,
    id="c3-1.1",
    command="c3-1",
    via="signal",
    status="DELIVERED",
    key="c3-1",
    sent=7.0,
    answered=8.0,
    outcome="accepted",
    http=None,
    shown_order=None,
    shown_status=None,
    version=None,
)
READ = Call(
    id="c1-2.1",
    command="c1-2",
    kind="read",
    via="http",
    order=ORDER,
    sent=9.0,
    answered=9.5,
    outcome="done",
    http=200,
    shown_order=ORDER,
    shown_status="DELIVERED",
    version=4,
)


def a_signal(seconds: int, status: str, by: str, command: str, request: str | None = None) -> Signal:
    said = {"status": status, "changed_by": by, "command_id": command}
    return Signal(
        name="update_status",
        arguments=[said | ({"request_id": request} if request else {})],
        decided=NOON + timedelta(seconds=seconds),
    )


SIGNALS = [
    a_signal(3, "PROCESSING", "promotion", "p"),
    a_signal(5, "SHIPPED", "c2", "k2", "c2-1.1"),
    a_signal(7, "DELIVERED", "c3", "k3", "c3-1.1"),
]
START = {
    "place": {
        "order_id": ORDER,
        "customer_id": "c1-1",
        "items": ITEMS,
        "currency": "USD",
        "placed_by": "api",
        "request_id": "c1-1.1",
    },
    "carried": None,
}


def a_change(  # noqa: PLR0913, PLR0917 - a row of a table
    version: int, old: str | None, new: str, by: str, command: str, request: str | None
) -> Entry:
    seconds = {1: 0, 2: 3, 3: 5, 4: 7}[version]
    return {
        "version": version,
        "old_status": old,
        "new_status": new,
        "changed_at": (NOON + timedelta(seconds=seconds)).isoformat(),
        "changed_by": by,
        "reason": None,
        "command_id": command,
        "on_behalf_of": None,
        "request_id": request,
    }


def an_answer() -> dict[str, Any]:
    """What the workflow answers."""
    order = {
        "id": ORDER,
        "customer_id": "c1-1",
        "status": "DELIVERED",
        "currency": "USD",
        "total_amount": "999.99",
        "items": [{"id": "1", **ITEMS[0]}],
        "version": 4,
        "created_at": NOON.isoformat(),
        "updated_at": (NOON + timedelta(seconds=7)).isoformat(),
    }
    history = [
        a_change(1, None, "PENDING", "api", ORDER, "c1-1.1"),
        a_change(2, "PENDING", "PROCESSING", "promotion", "p", None),
        a_change(3, "PROCESSING", "SHIPPED", "c2", "k2", "c2-1.1"),
        a_change(4, "SHIPPED", "DELIVERED", "c3", "k3", "c3-1.1"),
    ]
    return {"record": {"order": order, "history": history}, "projected_version": 4, "rejections": []}


def a_row() -> Story:
    """What PostgreSQL has."""
    return deepcopy(story_of_record(an_answer()["record"]))


def seen(at: float, version: int, status: str) -> Entry:
    return {"at": at, "event": "row", "order": ORDER, "version": version, "status": status}


@dataclass
class Hand:
    """A run by hand: change a part, then look at what breaks."""

    calls: list[Call] = field(default_factory=lambda: [PLACED, SHIPPED, DELIVERED, READ])
    rows: list[Entry] = field(
        default_factory=lambda: [
            seen(2.0, 1, "PENDING"),
            seen(6.0, 3, "SHIPPED"),
            seen(8.5, 4, "DELIVERED"),
        ]
    )
    faults: list[Entry] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=lambda: list(SIGNALS))
    answer: dict[str, Any] | None = field(default_factory=an_answer)
    row: Story | None = field(default_factory=a_row)
    silence: str = ""
    more_orders: list[OrderEvidence] = field(default_factory=list)
    quiet: Quiet = field(
        default_factory=lambda: Quiet(orders_seconds=5.0, promotion_seconds=6.0, restless=[])
    )

    @property
    def record(self) -> Record:
        return Record(calls=self.calls, rows=self.rows, faults=self.faults)

    def findings(self) -> list[Finding]:
        runs = [Run(started=NOON, start=START, signals=self.signals)] if self.answer else []
        order = OrderEvidence(id=ORDER, runs=runs, answer=self.answer, row=self.row, silence=self.silence)
        orders = {it.id: it for it in (order, *self.more_orders)}
        return check(self.record, orders) + check_time(self.record, orders, self.quiet)

    def broken(self) -> set[str]:
        """The names of the invariants that do not hold."""
        return {it.name for it in self.findings() if it.violations}

    @property
    def history(self) -> list[Entry]:
        """The changes in the workflow's answer."""
        assert self.answer is not None
        changes: list[Entry] = self.answer["record"]["history"]
        return changes


def a_ghost() -> OrderEvidence:
    """An order that nobody placed."""
    answer = an_answer()
    ghost = "0190c7b2-6f00-7000-8000-00000000000f"
    answer["record"]["order"] |= {"id": ghost, "customer_id": "nobody"}
    story = story_of_record(answer["record"])
    return OrderEvidence(id=ghost, answer=answer, row=story)


ONE_CENT = Decimal("0.01")
