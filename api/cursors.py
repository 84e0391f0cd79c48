"""Opaque cursors: where in a list a client is, and in which direction it reads."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from orders.order import OrderKey


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last order that a client has seen, and the order in which it reads the list."""

    key: OrderKey
    newest_first: bool

    def encode(self) -> str:
        """The cursor as a client carries it."""
        direction = "-" if self.newest_first else "+"
        text = f"{direction}{self.key.created_at.isoformat()}|{self.key.order_id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor that a client sent back.

        Raises:
            ValueError: it is none of ours.
        """
        try:
            decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
            created_at, _, order_id = decoded[1:].partition("|")
            moment = datetime.fromisoformat(created_at)
            if decoded[0] not in "+-" or moment.tzinfo is None:
                raise ValueError(decoded)  # noqa: TRY301 - refused below like every other mistake
            # In UTC, because PostgreSQL compares it so, and not every time of the year 1 can be that.
            key = OrderKey(created_at=moment.astimezone(UTC), order_id=UUID(order_id))
        except (binascii.Error, ValueError, OverflowError):
            raise ValueError("is not a cursor of this list") from None
        return cls(key=key, newest_first=decoded[0] == "-")
