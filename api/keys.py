"""API keys: who calls, and what they may do.

A key reads `orders_<id>_<secret>`. The id is public and finds the key; of the secret, 256 random bits,
only a digest is stored. Several keys may bear one name, so that a caller can change to a new key: it is
the name that changes and idempotency keys belong to.

Where no key has ever been made, the API is open to callers on this machine (docs/decisions/0006).
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.promotion import PROMOTED_BY
from database import keys
from database.engine import DatabaseUnavailable, is_unmigrated
from database.keys import StoredKey
from orders.signals import SIGNALLED_BY
from settings import ConfigurationError, Settings

logger = logging.getLogger("api.keys")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REFRESH_SECONDS = 2.0
"""How long a new key may be unknown and a revoked one known, while PostgreSQL answers."""

_KEY = re.compile(r"orders_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NO_DIGEST = bytes(32)


class Scope(StrEnum):
    """What a key allows."""

    READ = "orders:read"
    WRITE = "orders:write"
    OPERATE = "orders:operate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `key_id` is None for a caller on this machine where there are no keys."""

    name: str
    scopes: frozenset[str]
    key_id: str | None = None


# Also who has asked where nobody says who.
ANONYMOUS = Caller(name="api", scopes=frozenset(Scope))

_RESERVED_NAMES = {ANONYMOUS.name, PROMOTED_BY, SIGNALLED_BY}


class Unauthenticated(Exception):  # noqa: N818 - the name is the fact
    """A request without a valid key, where one is needed; `str()` says which of the two."""


class Misdirected(Exception):  # noqa: N818 - the name is the fact
    """An open API was asked under a name that is not this machine's: a web page may be behind that."""


def make_key(name: str, scopes: Iterable[Scope]) -> tuple[str, StoredKey]:
    """A new key as its holder gets it, once, and as it is stored.

    Raises:
        ValueError: the name is reserved or could not be told from others in a log.
    """
    if not NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
    if name in _RESERVED_NAMES:
        raise ValueError(f"{name!r} is how histories name changes that no key has made")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    stored = StoredKey(
        id=key_id,
        name=name,
        digest=_digest(secret),
        scopes=tuple(sorted(set(scopes))),
        created_at=datetime.now(UTC),
    )
    return f"orders_{key_id}_{secret}", stored


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class KeyRing:
    """Every key, kept in memory: an outage of PostgreSQL locks nobody out, and no request waits for it."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self._engine = engine
        self._is_loopback = is_loopback(settings.api_host)
        self._allows_anonymous = settings.api_allow_anonymous
        self._keys: dict[str, StoredKey] | None = None

    def identify(self, authorization: str | None, host: str, address: str) -> Caller:
        """Who sends a request with this `Authorization` header, to this `Host`, from this address.

        Raises:
            Unauthenticated: the request needs a key and has none, or one that does not hold.
            Misdirected: there are no keys, and it is not this machine that asks itself.
            DatabaseUnavailable: the keys could not be read yet.
        """
        if self._keys is None:
            raise DatabaseUnavailable(RuntimeError("the API keys could not be read yet"))
        if not self._keys and (self._allows_anonymous or self._is_loopback):
            # The address is another's where a proxy on this machine says for whom it asks.
            is_this_machine = is_loopback(_without_port(host)) and is_loopback(address)
            if not self._allows_anonymous and not is_this_machine:
                raise Misdirected(
                    "Without API keys only this machine is served: ask for 127.0.0.1 or localhost"
                )
            return ANONYMOUS
        if authorization is None:
            raise Unauthenticated("An API key is needed: `Authorization: Bearer <key>`")
        scheme, _, credentials = authorization.partition(" ")
        key = self._find(credentials.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Unauthenticated("The API key is not valid")
        return Caller(name=key.name, scopes=frozenset(key.scopes), key_id=key.id)

    def _find(self, text: str) -> StoredKey | None:
        match = _KEY.fullmatch(text)
        key_id, secret = match.groups() if match else ("", "")
        key = (self._keys or {}).get(key_id)
        # Compared whether or not there is such a key, so that the time taken does not tell.
        holds = hmac.compare_digest(key.digest if key else _NO_DIGEST, _digest(secret))
        return key if key and holds and key.revoked_at is None else None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Keep the ring as PostgreSQL has it for the length of the block."""
        await self._refresh()
        watch = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            self._keys = {key.id: key for key in await keys.list_keys(self._engine)}
        except DatabaseUnavailable as outage:
            logger.warning("The API keys stay as they were: %s", outage)
        except Exception:  # the watch must outlive whatever comes, or a revoked key would hold for ever
            logger.exception("The API keys could not be read")


async def refuse_exposure(settings: Settings, engine: AsyncEngine) -> None:
    """Refuse to serve other machines where nobody would have to show a key.

    Raises:
        ConfigurationError: there are no keys, and nothing says by name that it is meant so.
    """
    if is_loopback(settings.api_host) or settings.api_allow_anonymous:
        return
    try:
        known = await keys.list_keys(engine)
    except DatabaseUnavailable:
        return  # Nobody is let in before the keys are read.
    except DBAPIError as error:
        if is_unmigrated(error):
            raise ConfigurationError("The database has no API keys yet: run `orders migrate`") from None
        raise
    if not known:
        raise ConfigurationError(
            f"ORDERS_API_HOST={settings.api_host} would serve other machines and there is no API key: make "
            "one with `orders keys create`, or set ORDERS_API_ALLOW_ANONYMOUS=true"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, for this machine only."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]+$", "", host)
