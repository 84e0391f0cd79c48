"""Commands as signals: the durable way in that waits for no answer.

Warehouses, carriers and people at the `temporal` command write these by hand, so they ask for little
and default the rest. Running orders depend on these shapes: only ever add fields that have a default.

A name that nobody knows is refused, because it may be a slip of the pen or a condition that the sender relies
on. Yet a later release may send what this one does not know, and this one must not lose its commands: unknown
fields that are null are passed over, and so are those that the signal itself lists under `ignorable`
(docs/releases.md).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from orders.commands import ChangeStatus
from orders.errors import InvalidValue
from orders.status import OrderStatus

SIGNALLED_BY = "signal"
"""Who made a change where a signal does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSignal:
    """A cancellation that waits for no answer: `{}`, or nothing at all, is enough."""

    command_id: str | None = None
    changed_by: str = SIGNALLED_BY
    reason: str | None = None
    on_behalf_of: str | None = None
    request_id: str | None = None

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
            on_behalf_of=self.on_behalf_of,
            request_id=self.request_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSignal:
    """A change of status that waits for no answer: `{"status": "SHIPPED"}` is enough."""

    status: str
    command_id: str | None = None
    changed_by: str = SIGNALLED_BY
    reason: str | None = None
    expected_version: int | None = None
    on_behalf_of: str | None = None
    request_id: str | None = None
    sent_at: datetime | None = None
    ignorable: tuple[str, ...] = ("sent_at",)

    @classmethod
    def of(cls, command: ChangeStatus) -> Self:
        """The signal that carries a command."""
        return cls(
            status=command.status,
            command_id=command.command_id,
            changed_by=command.changed_by,
            reason=command.reason,
            expected_version=command.expected_version,
            on_behalf_of=command.on_behalf_of,
            request_id=command.request_id,
            sent_at=command.sent_at,
        )

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
            on_behalf_of=self.on_behalf_of,
            request_id=self.request_id,
            sent_at=self.sent_at,
        )


_CANCEL_FIELDS: dict[str, type] = dict.fromkeys(
    ("command_id", "changed_by", "reason", "on_behalf_of", "request_id"), str
)
_STATUS_FIELDS: dict[str, type] = {"status": str, **_CANCEL_FIELDS, "expected_version": int, "sent_at": str}


def read_cancel_signal(arguments: tuple[object, ...]) -> CancelSignal:
    """The cancellation that somebody has sent, whatever they sent.

    Raises:
        InvalidValue: it is none.
    """
    return CancelSignal(**_read(arguments, _CANCEL_FIELDS))


def read_status_signal(arguments: tuple[object, ...]) -> StatusSignal:
    """The change of status that somebody has sent, whatever they sent.

    Raises:
        InvalidValue: it is none.
    """
    fields = _read(arguments, _STATUS_FIELDS)
    if "status" not in fields:
        raise InvalidValue("status", 'is missing; send an object such as {"status": "SHIPPED"}')
    if "sent_at" in fields:
        fields["sent_at"] = _read_time("sent_at", fields["sent_at"])
    return StatusSignal(**fields)


def _read(arguments: tuple[object, ...], known: dict[str, type]) -> dict[str, Any]:
    if len(arguments) > 1:
        raise InvalidValue("signal", "must have one argument, an object")
    given = arguments[0] if arguments and arguments[0] is not None else {}
    if not isinstance(given, dict):
        raise InvalidValue("signal", "must be an object")
    fields = {name: value for name, value in given.items() if value is not None}
    ignorable = _read_ignorable(fields.pop("ignorable", []))
    for name, value in fields.items():
        if name not in known and name not in ignorable:
            raise InvalidValue("signal", f"may have {', '.join(known)} and nothing else")
        # `type` rather than `isinstance`: a boolean is no version.
        if name in known and type(value) is not known[name]:
            raise InvalidValue(name, "must be a string" if known[name] is str else "must be an integer")
    return {name: value for name, value in fields.items() if name in known}


def _read_time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # No time, or one that is none in UTC: the year 0.
    raise InvalidValue(name, 'must be a time with its zone such as "2026-01-05T09:30:00Z"')


def _read_ignorable(names: object) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidValue("ignorable", "must be a list of names")
    return frozenset(names)
