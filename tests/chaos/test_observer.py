import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from chaos.journal import Journal, read_entries
from chaos.observer import observe
from tests.chaos.hand import ORDER
from tests.conftest import Servers
from tests.databases import EMPTY, a_database
from tests.system import eventually


@pytest.fixture
async def database(servers: Servers) -> AsyncIterator[str]:
    """A database with nothing but what the observer looks at."""
    async with a_database(servers.database_url, EMPTY) as url:
        yield url


async def test_every_change_of_a_row_is_written_down_across_a_broken_connection(
    database: str, tmp_path: Path
) -> None:
    journal, stop = Journal(tmp_path / "observer.jsonl"), asyncio.Event()
    connection = await asyncpg.connect(database, ssl=False)
    await connection.execute("CREATE TABLE orders (id uuid, version integer, status text)")
    watching = asyncio.create_task(observe(database, journal, stop))

    async def seen(*rows: tuple[int, str]) -> None:
        async def are_seen() -> bool:
            return [(row["version"], row["status"]) for row in read_entries(tmp_path)] == list(rows)

        await eventually(are_seen)

    await connection.execute("INSERT INTO orders VALUES ($1, 1, 'PENDING')", ORDER)
    await seen((1, "PENDING"))
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = 'observed' AND pid <> pg_backend_pid()"
    )
    await connection.execute("UPDATE orders SET version = 2, status = 'PROCESSING'")
    await seen((1, "PENDING"), (2, "PROCESSING"))
    await connection.execute("DELETE FROM orders")
    await seen((1, "PENDING"), (2, "PROCESSING"), (0, ""))

    stop.set()
    await watching
    await connection.close()
    journal.close()
