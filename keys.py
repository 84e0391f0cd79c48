"""API keys from the command line: `orders keys create`, `list` and `revoke`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.keys import REFRESH_SECONDS, Scope, make_key
from database import keys
from database.engine import create_engine, is_unmigrated
from settings import ConfigurationError, load_settings


def create_key(name: str, scopes: Sequence[str]) -> None:
    """Make a key and print it, alone on standard output; what to know about it goes to standard error.

    Raises:
        ConfigurationError: no database is configured, or it is not migrated.
        DatabaseUnavailable: PostgreSQL cannot be reached.
        ValueError: a key cannot have this name, or there is no such scope.
    """
    if unknown := sorted(set(scopes) - set(Scope)):
        raise ValueError(f"there is no scope {unknown[0]!r}; there are {', '.join(Scope)}")
    text, key = make_key(name, [Scope(scope) for scope in scopes] or list(Scope))
    _run(lambda engine: keys.add_key(engine, key))
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(
        f"{key.name} may use {', '.join(key.scopes)}, as `Authorization: Bearer <key>`. "
        f"Keep it now, it is not shown again; `orders keys revoke {key.id}` ends it.\n"
    )


def list_keys() -> None:
    """Print every key that was ever made, oldest first; raises as `create_key`."""
    found: list[keys.StoredKey] = []

    async def read(engine: AsyncEngine) -> None:
        found.extend(await keys.list_keys(engine))

    _run(read)
    if not found:
        sys.stdout.write("There are no API keys: the API serves this machine alone, and asks for none.\n")
        return
    rows = [("id", "name", "scopes", "made", "revoked")]
    rows += [
        (key.id, key.name, " ".join(key.scopes), _day(key.created_at), _day(key.revoked_at)) for key in found
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        # One line for each key whatever the width of the terminal, for `grep` and its like.
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def revoke_key(key_id: str) -> None:
    """Revoke a key, for good; a second time changes nothing.

    Raises:
        ValueError: there is no such key.
        ConfigurationError, DatabaseUnavailable: as `create_key`.
    """

    async def revoke(engine: AsyncEngine) -> None:
        if not await keys.revoke_key(engine, key_id):
            raise ValueError("there is no key with this id; `orders keys list` shows them")

    _run(revoke)
    sys.stderr.write(f"Revoked; every API process knows it within {REFRESH_SECONDS:g} s.\n")


def _run(work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = create_engine(load_settings(), application_name="keys")
        try:
            await work(engine)
        except DBAPIError as error:
            if is_unmigrated(error):
                raise ConfigurationError("The database has no API keys yet: run `orders migrate`") from None
            raise
        finally:
            await engine.dispose()

    asyncio.run(run())


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
