"""Opaque cursors: after which order a list goes on."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from database.queries import OrderFilter
from orders.order import OrderKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Together a multiple of three bytes, which base64 writes without padding and in one way only.
_MOMENT_BYTES, _ID_BYTES, _DIGEST_BYTES = 8, 16, 9
_BYTES = _MOMENT_BYTES + _ID_BYTES + _DIGEST_BYTES
CURSOR_LENGTH = _BYTES * 4 // 3


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last order that a client has seen, and the list in which it has seen it.

    The digest binds the key to the list's filters and sort, and shows a cursor that was changed on its
    way. It holds no secret, so it authenticates nothing: whoever knows this code can write a cursor for
    any key. What makes a position that was never given out useless is that PostgreSQL is asked for the
    order at the key (`queries.list_orders`). There is no secret to keep, or to share among processes.
    """

    key: OrderKey
    digest: bytes

    @classmethod
    def of(cls, key: OrderKey, wanted: OrderFilter, *, newest_first: bool) -> "Cursor":
        """The cursor for what follows the key in the list with these filters and this sort."""
        scope = {
            "statuses": sorted(wanted.statuses),
            "customer_id": wanted.customer_id,
            "created_after": _microseconds(wanted.created_after),
            "created_before": _microseconds(wanted.created_before),
            "newest_first": newest_first,
        }
        content = _pack(key) + json.dumps(scope, sort_keys=True).encode()
        return cls(key=key, digest=blake2b(content, digest_size=_DIGEST_BYTES).digest())

    def encode(self) -> str:
        """The cursor as a client carries it: `CURSOR_LENGTH` characters that need no escaping in a URL."""
        return base64.urlsafe_b64encode(_pack(self.key) + self.digest).decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor that a client sent back.

        Raises:
            ValueError: it is none of ours.
        """
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            moment = int.from_bytes(packed[:_MOMENT_BYTES], signed=True)
            key = OrderKey(
                created_at=_EPOCH + moment * _MICROSECOND,
                order_id=UUID(bytes=packed[_MOMENT_BYTES:-_DIGEST_BYTES]),
            )
        except (binascii.Error, ValueError, OverflowError):
            raise ValueError("is not a cursor") from None
        cursor = cls(key=key, digest=packed[-_DIGEST_BYTES:])
        # Python's decoder takes the characters of the other alphabet, too.
        if cursor.encode() != text:
            raise ValueError("is not a cursor")
        return cursor


def _pack(key: OrderKey) -> bytes:
    moment = (key.created_at - _EPOCH) // _MICROSECOND
    return moment.to_bytes(_MOMENT_BYTES, signed=True) + key.order_id.bytes


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND
