"""What an order's workflow knows and answers.

Running orders depend on these shapes: only ever add fields that have a default.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from orders import lifecycle
from orders.commands import PlaceOrder
from orders.order import OrderRecord
from orders.signals import CancelSignal, StatusSignal
from orders.text import MAX_IDENTIFIER_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A signal that the order refused. Its texts are cut: whoever sends it chose their length."""

    command_id: str | None
    status: str | None
    changed_by: str | None
    rejected_at: datetime
    reason: str
    request_id: str | None = None

    @classmethod
    def of(cls, signal: StatusSignal | CancelSignal | None, rejected_at: datetime, reason: str) -> Self:
        """The rejection of a signal; None is one that could not be read."""

        def cut(text: str | None) -> str | None:
            return text and text[:MAX_IDENTIFIER_LENGTH]

        return cls(
            command_id=cut(signal.command_id) if signal else None,
            status=cut(signal.status) if signal else None,
            changed_by=cut(signal.changed_by) if signal else None,
            rejected_at=rejected_at,
            reason=reason,
            request_id=cut(signal.request_id) if signal else None,
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

    place: PlaceOrder | None = None
    carried: OrderState | None = None

    def state(self, now: datetime) -> OrderState:
        """What the run knows at its start, `now` being the time of that.

        Raises:
            ValueError: the input is empty.
        """
        if self.carried:
            return self.carried
        if self.place is None:
            raise ValueError("An order's workflow starts from an order to place")
        return OrderState(record=lifecycle.place(self.place, now))
