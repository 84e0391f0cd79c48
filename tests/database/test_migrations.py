import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from alembic import command
from sqlalchemy.ext.asyncio import create_async_engine

from database.migrate import alembic_config, migrate
from database.tables import metadata
from settings import ROOT
from tests.conftest import settings_for
from tests.database.conftest import Databases
from tests.system import eventually

Schema = list[str]

# All that makes a schema what it is, one line each. The constraints say what `alembic check` leaves out.
SCHEMA = """
SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, atthasdef)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1
"""


async def schema_of(url: str) -> Schema:
    connection = await asyncpg.connect(url)
    try:
        return [line for (line,) in await connection.fetch(SCHEMA) if "alembic_version" not in line]
    finally:
        await connection.close()


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with databases("template1") as url:
        yield url


async def upgrade(url: str) -> None:
    await asyncio.to_thread(migrate, settings_for(url).require_database_url())


async def downgrade(url: str) -> None:
    config = alembic_config(settings_for(url).require_database_url())
    await asyncio.to_thread(command.downgrade, config, "base")


async def declared(url: str) -> Schema:
    """The schema that `database.tables` declares, made in the database at the URL."""
    engine = create_async_engine(settings_for(url).require_database_url())
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await engine.dispose()
    return await schema_of(url)


async def test_the_migrations_make_the_tables_that_the_code_declares(
    empty: str, databases: Databases
) -> None:
    await upgrade(empty)

    async with databases("template1") as other:
        assert await declared(other) == await schema_of(empty) != []


async def test_a_migrated_database_can_be_taken_back_and_migrated_again(empty: str) -> None:
    await upgrade(empty)
    migrated = await schema_of(empty)

    await downgrade(empty)
    assert await schema_of(empty) == []

    await upgrade(empty)
    assert await schema_of(empty) == migrated


async def test_a_migrated_database_is_left_alone(empty: str) -> None:
    await upgrade(empty)
    migrated = await schema_of(empty)

    await upgrade(empty)

    assert await schema_of(empty) == migrated


@asynccontextmanager
async def a_table_in_the_way(url: str) -> AsyncIterator[Callable[[int], Awaitable[bool]]]:
    """Hold up whoever migrates, so that neither is done before the other has begun; tells how many wait."""
    connection = await asyncpg.connect(url)

    async def holds_up(count: int) -> bool:
        return bool(count == await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    try:
        await connection.execute("BEGIN; CREATE TABLE alembic_version ()")
        yield holds_up
    finally:
        await connection.close()


MIGRATE = "import sys; from database.migrate import migrate; migrate(sys.argv[1])"


async def test_two_deployments_may_migrate_at_once(empty: str) -> None:
    url = settings_for(empty).require_database_url()
    async with a_table_in_the_way(empty) as in_the_way:
        deployments = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, url, cwd=ROOT, stderr=PIPE)
            for _ in range(2)
        ]
        await eventually(lambda: in_the_way(2))

    errors = [(await deployment.communicate())[1].decode() for deployment in deployments]

    assert [deployment.returncode for deployment in deployments] == [0, 0], errors
    assert await schema_of(empty) != []
