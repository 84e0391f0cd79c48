"""Commands as signals: the durable way in that waits for no answer.

Warehouses, carriers and people at the `temporal` command write these by hand, so they ask for little
and default the rest. Running orders depend on these shapes: only ever add fields that have a default.
"""

from dataclasses import dataclass

from orders.commands import ChangeStatus
from orders.errors import InvalidValue
from orders.status import OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSignal:
    """A cancellation that waits for no answer: `{}`, or nothing at all, is enough."""

    command_id: str | None = None
    changed_by: str = "signal"
    reason: str | None = None

    @property
    def status(self) -> str:
        """The status that is asked for."""
        return OrderStatus.CANCELLED

    def command(self, new_id: str) -> ChangeStatus:
        """The command that the signal means, under its own id or else the new one."""
        return ChangeStatus(
            command_id=self.command_id or new_id,
            status=OrderStatus.CANCELLED,
            changed_by=self.changed_by,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSignal:
    """A change of status that waits for no answer: `{"status": "SHIPPED"}` is enough."""

    status: str
    command_id: str | None = None
    changed_by: str = "signal"
    reason: str | None = None
    expected_version: int | None = None

    def command(self, new_id: str) -> ChangeStatus:
        """The command that the signal means, under its own id or else the new one.

        Raises:
            InvalidValue: there is no such status.
        """
        try:
            status = OrderStatus(self.status)
        except ValueError:
            raise InvalidValue("status", f"must be one of {', '.join(OrderStatus)}") from None
        return ChangeStatus(
            command_id=self.command_id or new_id,
            status=status,
            changed_by=self.changed_by,
            reason=self.reason,
            expected_version=self.expected_version,
        )
