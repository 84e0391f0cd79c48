"""What an order's workflow knows and answers.

Running orders depend on these shapes: only ever add fields that have a default.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from orders.commands import PlaceOrder
from orders.order import OrderRecord
from orders.signals import CancelSignal, StatusSignal
from orders.text import MAX_IDENTIFIER_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A signal that the order refused. Its texts are cut: whoever sends it chose their length."""

    command_id: str | None
    status: str
    changed_by: str
    rejected_at: datetime
    reason: str

    @classmethod
    def of(cls, signal: StatusSignal | CancelSignal, rejected_at: datetime, reason: str) -> Self:
        """The rejection of a signal."""
        return cls(
            command_id=signal.command_id and signal.command_id[:MAX_IDENTIFIER_LENGTH],
            status=signal.status[:MAX_IDENTIFIER_LENGTH],
            changed_by=signal.changed_by[:MAX_IDENTIFIER_LENGTH],
            rejected_at=rejected_at,
            reason=reason,
        )


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
