"""What an order's workflow knows and answers.

Running orders depend on these shapes: only ever add fields that have a default.
"""

from dataclasses import dataclass
from datetime import datetime

from orders.commands import PlaceOrder
from orders.order import OrderRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A signal that the order refused."""

    command_id: str | None
    status: str
    changed_by: str
    rejected_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """All that a workflow knows of its order: the answer of its query, and what continue-as-new carries.

    `projected_version` is the version that PostgreSQL is known to have. `rejections` holds the latest
    ones only, oldest first.
    """

    record: OrderRecord
    projected_version: int = 0
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderInput:
    """What a run starts from: the order to place, or all that the run before it knew."""

    place: PlaceOrder
    carried: OrderState | None = None
