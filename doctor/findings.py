"""What can be wrong with an order, and what follows from it. The workflow is the truth, always."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from uuid import UUID

from temporalio.client import WorkflowExecutionStatus

from database.projection import Rows, rows_of
from orders.order import OrderRecord
from orders.status import TRANSITIONS, OrderStatus


class Kind(StrEnum):
    """What is wrong with an order. docs/operations.md says what each asks of a person."""

    MISSING = "missing"
    STALE = "stale"
    AHEAD = "ahead"
    DIFFERENT = "different"
    FINISHED_BUT_OPEN = "finished-but-open"
    UNKNOWN = "unknown"
    SILENT = "silent"
    DAMAGED = "damaged"
    SECOND_LIFE = "second-life"

    @property
    def is_mendable(self) -> bool:
        """Whether writing what the workflow says mends it."""
        return self in _MENDABLE


_MENDABLE = {Kind.MISSING, Kind.STALE, Kind.AHEAD, Kind.DIFFERENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What Temporal knows of an order: how its workflow is, and what it says, or why it says nothing.

    `is_unserved` says that nobody seems to be there to answer for it.
    """

    status: WorkflowExecutionStatus
    record: OrderRecord | None
    silence: str = ""
    is_unserved: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the workflow takes no more commands."""
        return self.status not in {
            WorkflowExecutionStatus.RUNNING,
            WorkflowExecutionStatus.CONTINUED_AS_NEW,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with one order, and, after a repair, whether it was mended."""

    order_id: UUID
    kind: Kind
    detail: str
    todo: str
    mended: bool = False


def diagnose(order_id: UUID, stored: Rows | None, known: Known | None) -> list[Finding]:
    """All that is wrong with an order, from what PostgreSQL held and what Temporal then knew.

    Looked at in this order, because a workflow is never behind its projection. Its projection may be
    behind for a moment, so a person is told only of what stays.
    """
    if known is None:
        return _unknown(order_id, stored) if stored else []
    findings = []
    if known.record is None:
        detail = f"its workflow is {_shown(known.status)} and does not answer: {known.silence}"
        todo = f"see in the Web UI what became of the workflow order-{order_id}"
        return [Finding(order_id=order_id, kind=Kind.SILENT, detail=detail, todo=todo)]
    if stored and _is_second_life(stored, known.record):
        return [] if known.has_ended else [_second_life(order_id, stored)]
    if difference := _difference(order_id, stored, known.record):
        findings.append(difference)
    status = known.record.order.status
    if known.has_ended and not status.is_terminal:
        findings.append(
            Finding(
                order_id=order_id,
                kind=Kind.FINISHED_BUT_OPEN,
                detail=f"its workflow is {_shown(known.status)} and the order {status}: nobody decides",
                todo=(
                    f"temporal workflow reset --workflow-id order-{order_id} --type LastWorkflowTask "
                    "--reason 'the order goes on'"
                ),
            )
        )
    return findings


def _is_second_life(stored: Rows, record: OrderRecord) -> bool:
    """Whether PostgreSQL has the order from an earlier placing; see `database.projection`."""
    placed_at = stored.order["created_at"]
    return (
        bool(stored.history)
        and stored.history[0]["changed_at"] == placed_at
        and placed_at < record.order.created_at
    )


def _second_life(order_id: UUID, stored: Rows) -> Finding:
    """Placed again with its old key, while PostgreSQL was away and Temporal had forgotten it."""
    return Finding(
        order_id=order_id,
        kind=Kind.SECOND_LIFE,
        detail=(
            f"PostgreSQL has it as {stored.order['status']}, placed at {stored.order['created_at']}; "
            "its workflow was started again later"
        ),
        todo=f"temporal workflow terminate --workflow-id order-{order_id} --reason 'placed before'",
    )


def _difference(order_id: UUID, stored: Rows | None, record: OrderRecord) -> Finding | None:
    said = rows_of(record)
    truth = f"version {record.order.version} ({record.order.status})"
    todo = "orders doctor --repair"
    if stored is None:
        detail = f"PostgreSQL has nothing of it; its workflow has {truth}"
        return Finding(order_id=order_id, kind=Kind.MISSING, detail=detail, todo=todo)
    if stored == said:
        return None
    version = stored.order["version"]
    if version != record.order.version:
        kind = Kind.STALE if version < record.order.version else Kind.AHEAD
        detail = f"PostgreSQL has version {version} ({stored.order['status']}), its workflow {truth}"
    else:
        kind = Kind.DIFFERENT
        places = ", ".join(_places(stored, said))
        detail = f"PostgreSQL has {truth} as its workflow does, but not the same {places}"
    return Finding(order_id=order_id, kind=kind, detail=detail, todo=todo)


def _places(stored: Rows, said: Rows) -> list[str]:
    """Where the two differ. Not what they hold, which may be a customer's."""
    columns = [name for name, value in said.order.items() if stored.order[name] != value]
    tables = [name for name in ("items", "history") if getattr(stored, name) != getattr(said, name)]
    return columns + tables


def _unknown(order_id: UUID, stored: Rows) -> list[Finding]:
    """An order that only PostgreSQL has: right where it is over, for Temporal forgets those in time."""
    status, flaw = OrderStatus(stored.order["status"]), find_flaw(stored)
    if not status.is_terminal:
        detail = f"PostgreSQL has it as {status}, and Temporal has no workflow of it: nobody decides"
        todo = f"orders doctor --revive {order_id}"
        if flaw:
            detail, todo = f"{detail}; {flaw}", "restore its rows from a backup, then: " + todo
        return [Finding(order_id=order_id, kind=Kind.UNKNOWN, detail=detail, todo=todo)]
    if not flaw:
        return []
    detail = f"PostgreSQL has it as {status}, Temporal no longer has its workflow, and {flaw}"
    todo = "restore its rows from a backup: nothing else knows them"
    return [Finding(order_id=order_id, kind=Kind.DAMAGED, detail=detail, todo=todo)]


def find_flaw(stored: Rows) -> str | None:
    """The first contradiction within the rows of an order, in words; None where they fit together."""
    return _flaw_of_items(stored) or _flaw_of_history(stored)


def _flaw_of_items(stored: Rows) -> str | None:
    items = stored.items
    if not items or [item["position"] for item in items] != list(range(len(items))):
        return "items are missing"
    if sum(item["quantity"] * item["unit_price"] for item in items) != stored.order["total_amount"]:
        return "the items do not add up to the total"
    return None


def _flaw_of_history(stored: Rows) -> str | None:
    order, history = stored.order, stored.history
    if [change["version"] for change in history] != list(range(1, order["version"] + 1)):
        return f"the history does not lead to version {order['version']}"
    steps = [(change["old_status"], change["new_status"]) for change in history]
    if steps[0] != (None, OrderStatus.PENDING) or any(
        after[0] != before[1] or after[1] not in TRANSITIONS[OrderStatus(before[1])]
        for before, after in pairwise(steps)
    ):
        return "the history is none that an order can have"
    if steps[-1][1] != order["status"]:
        return f"the history does not lead to {order['status']}"
    if (history[0]["changed_at"], history[-1]["changed_at"]) != (order["created_at"], order["updated_at"]):
        return "the times of the order are not those of its history"
    return None


def _shown(status: WorkflowExecutionStatus) -> str:
    return status.name.lower().replace("_", " ")
