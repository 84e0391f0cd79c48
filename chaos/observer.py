"""Watches PostgreSQL during the run and writes down every change of every order's row that it sees."""

import asyncio
import contextlib

import asyncpg

from chaos.journal import Journal

PAUSE_SECONDS = 0.25
PATIENCE_SECONDS = 5.0

_OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What asyncpg says of a connection that a time-out has left in the middle of something.
    asyncpg.InternalClientError,
)


async def observe(database_url: str, journal: Journal, stop: asyncio.Event) -> None:
    """Look at all orders, over and over, until told to stop; an outage is waited out.

    A `row` is {order, version, status}; one that is gone has version 0.
    """
    seen: dict[str, tuple[int, str]] = {}
    while not stop.is_set():
        with contextlib.suppress(*_OUTAGES):
            connection = await asyncpg.connect(database_url, timeout=PATIENCE_SECONDS, ssl=False)
            try:
                while not stop.is_set():
                    await _look(connection, seen, journal)
                    await asyncio.sleep(PAUSE_SECONDS)
            finally:
                connection.terminate()
        await asyncio.sleep(PAUSE_SECONDS)


async def _look(connection: asyncpg.Connection, seen: dict[str, tuple[int, str]], journal: Journal) -> None:
    rows = await connection.fetch(
        "SELECT id::text AS id, version, status FROM orders", timeout=PATIENCE_SECONDS
    )
    now = {row["id"]: (row["version"], row["status"]) for row in rows}
    gone = dict.fromkeys(seen.keys() - now.keys(), (0, ""))
    for order, (version, status) in (now | gone).items():
        if seen.get(order) != (version, status):
            journal.write("row", order=order, version=version, status=status)
    seen.clear()
    seen.update(now)
