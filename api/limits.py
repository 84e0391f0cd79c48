"""How much is enough: of requests from one caller, of commands to one order, of work and bodies in hand."""

import asyncio
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Self
from uuid import UUID

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from settings import Settings

logger = logging.getLogger("api.limits")

COMMANDS_OF_A_CALLER = 60
"""Commands that one caller sends one order in a minute. It can carry out four in its life, but racing
retries count."""

COMMANDS_PER_ORDER = 180
"""Commands that all callers together send one order in a minute, so that one of them does not lock out the
others. Temporal takes 10,000 of one run, which cannot be renewed while PostgreSQL is away: so an order
stands almost an hour of flooding."""

LARGE_BODIES_BYTES = 32 * 1024 * 1024
"""What the large bodies in hand may have together, beyond the `SMALL_BODY_BYTES` of each."""

SMALL_BODY_BYTES = 16 * 1024
"""What a body may have without asking for room: the number of connections bounds these, and so nobody who
fills the room with large bodies keeps others from sending an order of a usual size."""

_REDIS_PATIENCE_SECONDS = 0.25
_REDIS_REST_SECONDS = 5.0
_REDIS_CONNECTIONS = 20
_IPV6_HOUSEHOLD = 64
_SWEEP_SECONDS = 1.0
_MINUTE = 60


class TooMany(Exception):  # noqa: N818 - the name is the fact
    """A limit is reached; `str()` says which, `fields` tell the caller when to come again."""

    def __init__(self, detail: str, fields: dict[str, str]) -> None:
        super().__init__(detail)
        self.fields = fields


class Overloaded(Exception):  # noqa: N818 - the name is the fact
    """As many requests are in hand as this process takes."""


class CallersInMemory(MemoryStorage):
    """Counts in memory, and forgets once a second: `limits` looks through every caller at every request."""

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, as `MemoryStorage` does; it starts no sweep of its own while `timer` runs."""
        if self.timer is None or self.timer.done():
            self.timer = asyncio.create_task(self._forget())
        return await super().incr(key, expiry, amount)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.time()
            for key in [key for key, until in self.expirations.items() if until <= now]:
                for kept in (self.expirations, self.storage, self.locks):
                    kept.pop(key, None)

    def close(self) -> None:
        """Forget no more."""
        if self.timer:
            self.timer.cancel()


class RequestLimit:
    """Requests that one caller may make in a minute, counted here or, for several processes, in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._limit = RateLimitItemPerMinute(settings.rate_limit)
        self._memory = CallersInMemory()
        self._here = SlidingWindowCounterRateLimiter(self._memory)
        url = settings.rate_limit_redis_url
        self._redis = ConnectionPool.from_url(url, max_connections=_REDIS_CONNECTIONS) if url else None
        # As many as there are connections: a request that finds none free would take that for an outage.
        self._turns = asyncio.Semaphore(_REDIS_CONNECTIONS)
        self._shared = _counting_in(self._redis) if self._redis else None
        self._rests_until = 0.0
        self._is_away = False

    async def count(self, caller: str) -> tuple[bool, dict[str, str]]:
        """Count a request: whether it is within the limit, and the fields that tell the caller.

        The fields are those of draft-ietf-httpapi-ratelimit-headers.
        """
        return await self._count_in_redis(caller) or await self._count(self._here, caller)

    async def _count_in_redis(self, caller: str) -> tuple[bool, dict[str, str]] | None:
        """Count where others count, too; None where there is no such place, or it does not answer."""
        if self._shared is None:
            return None
        # Patience begins with a turn: in a burst, waiting for one says nothing about Redis.
        async with self._turns:
            if time.monotonic() < self._rests_until:
                return None
            if self._is_away:
                self._rest()  # One request finds out whether Redis is back; the others need not wait for it.
            try:
                async with asyncio.timeout(_REDIS_PATIENCE_SECONDS):
                    counted = await self._count(self._shared, caller)
            except (StorageError, TimeoutError) as error:
                # The limit protects the orders; it must not become a reason not to serve them.
                if not self._is_away:
                    logger.warning("Redis does not count, so this process does: %s", _reason(error))
                self._is_away = True
                self._rest()
                return None
            if self._is_away:
                logger.warning("Redis counts again")
            self._is_away = False
            return counted

    async def aclose(self) -> None:
        """Leave Redis, and count no more."""
        self._memory.close()
        if self._redis:
            await self._redis.disconnect()

    def _rest(self) -> None:
        self._rests_until = time.monotonic() + _REDIS_REST_SECONDS

    async def _count(
        self, limiter: SlidingWindowCounterRateLimiter, caller: str
    ) -> tuple[bool, dict[str, str]]:
        is_within = await limiter.hit(self._limit, caller)
        reset_at, remaining = await limiter.get_window_stats(self._limit, caller)
        wait = max(1, ceil(reset_at - time.time()))
        fields = _fields("caller", self._limit.amount, remaining, wait)
        return is_within, fields if is_within else fields | {"Retry-After": str(wait)}


def _fields(policy: str, most: int, remaining: int, wait: int) -> dict[str, str]:
    """What a caller is told of a limit of so many in a minute."""
    return {
        "RateLimit-Policy": f'"{policy}";q={most};w={_MINUTE}',
        "RateLimit": f'"{policy}";r={remaining};t={wait}',
    }


def _reason(error: StorageError | TimeoutError) -> str:
    if isinstance(error, StorageError):
        return str(error.storage_error)
    return f"it did not answer within {_REDIS_PATIENCE_SECONDS:g} s"


def _counting_in(pool: ConnectionPool) -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage(
        "async+redis://",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="orders",
        connection_pool=pool,  # type: ignore[arg-type]
    )
    return SlidingWindowCounterRateLimiter(storage)


@dataclass(slots=True)
class _Commands:
    """What has been sent in the minute that runs: by a caller to an order, and by all to an order."""

    minute: int = 0
    by_caller: Counter[tuple[UUID, str]] = field(default_factory=Counter)
    by_order: Counter[UUID] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class CommandLimit:
    """Commands that one order is sent in a minute by this process, so that nobody can flood its history."""

    caller: str = ""
    sent: _Commands = field(default_factory=_Commands)

    def by(self, caller: str) -> Self:
        """The same limit, as it holds for a caller."""
        return replace(self, caller=caller)

    def count(self, order_id: UUID) -> None:
        """Count a command that is about to be sent; one that is refused takes nothing from the others.

        Raises:
            TooMany: the order was sent too many, by this caller or by all.
        """
        sent = self.sent
        minute, second = divmod(int(time.monotonic()), _MINUTE)
        if minute != sent.minute:
            sent.minute = minute
            sent.by_caller.clear()
            sent.by_order.clear()
        for policy, count, most in (
            ("order-by-caller", sent.by_caller[order_id, self.caller], COMMANDS_OF_A_CALLER),
            ("order", sent.by_order[order_id], COMMANDS_PER_ORDER),
        ):
            if count >= most:
                wait = _MINUTE - second
                raise TooMany(
                    f"Order {order_id} was sent {most} commands within a minute",
                    _fields(policy, most, 0, wait) | {"Retry-After": str(wait)},
                )
        sent.by_caller[order_id, self.caller] += 1
        sent.by_order[order_id] += 1


class Capacity:
    """Requests that this process has in hand at once; more are refused rather than queued without end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_hand = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have one request more in hand for the length of the block.

        Raises:
            Overloaded: there are as many already as there may be.
        """
        if self._in_hand >= self._most:
            raise Overloaded
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1


class BodyRoom:
    """Room for the large bodies that this process has in hand, from their first byte to their answer."""

    def __init__(self, most: int = LARGE_BODIES_BYTES) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """Room for one body, which has it until the block ends."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            self._taken -= share.large_bytes

    def take(self, size: int) -> None:
        """Take room for `size` more bytes.

        Raises:
            Overloaded: there is none.
        """
        if self._taken + size > self._most:
            raise Overloaded
        self._taken += size


class BodyShare:
    """The room of one body."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.large_bytes = 0

    def hold(self, size: int) -> None:
        """Have room for a body that has come to `size` bytes.

        Raises:
            Overloaded: the large bodies in hand leave none.
        """
        large = max(0, size - SMALL_BODY_BYTES)
        self._room.take(large - self.large_bytes)
        self.large_bytes = large


def address_group(host: str) -> str:
    """What counts as one caller without a key: an IPv4 address, or the IPv6 network of one household."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:  # what a socket that takes both kinds makes of an IPv4 address
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_HOUSEHOLD), strict=False))
