import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from database.engine import DatabaseUnavailable, connected, create_engine
from database.queries import check_reachable
from embedded.child import free_port
from settings import Settings
from tests.system import eventually


@asynccontextmanager
async def unavailable() -> AsyncIterator[None]:
    """The block finds PostgreSQL unavailable, and not by a wait that the settings know nothing of."""
    async with asyncio.timeout(5):
        with pytest.raises(DatabaseUnavailable):
            yield


@asynccontextmanager
async def an_engine(settings: Settings, **changes: object) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings.model_copy(update=changes), application_name="tests-engine")
    yield engine
    await engine.dispose()


def at_port(settings: Settings, port: int) -> str:
    url = make_url(settings.require_database_url()).set(port=port)
    return url.render_as_string(hide_password=False)


async def stop(engine: AsyncEngine, process: int) -> None:
    """End a server process, as a restart of PostgreSQL does with all of them."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})


async def test_a_server_that_answers_is_reachable(engine: AsyncEngine) -> None:
    await check_reachable(engine)


async def test_a_server_that_is_not_there_is_unavailable(settings: Settings) -> None:
    async with an_engine(settings, database_url=at_port(settings, free_port())) as engine, unavailable():
        await check_reachable(engine)


async def test_a_server_that_accepts_and_says_nothing_is_unavailable(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = at_port(settings, silent.getsockname()[1])
        async with an_engine(settings, database_url=url, database_pool_timeout=0.2) as engine, unavailable():
            await check_reachable(engine)


async def test_a_server_without_a_connection_to_spare_is_unavailable(
    engine: AsyncEngine, settings: Settings
) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0"))
    crowded = make_url(settings.require_database_url()).set(username="crowded", password="crowded")  # noqa: S106
    url = crowded.render_as_string(hide_password=False)
    async with an_engine(settings, database_url=url) as refused, unavailable():
        await check_reachable(refused)


async def is_running(engine: AsyncEngine, process: int) -> bool:
    statement = text("SELECT 1 FROM pg_stat_activity WHERE pid = :process AND query LIKE '%pg_sleep%'")
    async with engine.connect() as connection:
        return bool((await connection.execute(statement, {"process": process})).all())


async def test_a_server_that_stops_in_the_middle_of_a_statement_is_unavailable(
    engine: AsyncEngine, settings: Settings
) -> None:
    async with an_engine(settings) as other, unavailable(), connected(other) as connection:
        process = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        statement = asyncio.create_task(connection.execute(text("SELECT pg_sleep(60)")))
        await eventually(lambda: is_running(engine, process))
        await stop(engine, process)
        await statement


async def test_a_connection_that_was_dropped_is_replaced_unnoticed(
    engine: AsyncEngine, settings: Settings
) -> None:
    async with an_engine(settings, database_pool_size=1) as other:
        async with other.connect() as connection:
            process = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await stop(engine, process)

        await check_reachable(other)


async def test_a_pool_without_a_connection_to_spare_is_unavailable(settings: Settings) -> None:
    sizes = {"database_pool_size": 1, "database_pool_timeout": 0.1}
    async with an_engine(settings, **sizes) as engine, engine.connect(), unavailable():
        await check_reachable(engine)


async def test_a_statement_that_takes_too_long_is_unavailable(settings: Settings) -> None:
    impatient = an_engine(settings, database_statement_timeout=0.1)
    async with impatient as engine, unavailable(), connected(engine) as connection:
        await connection.execute(text("SELECT pg_sleep(60)"))


async def test_a_statement_that_postgresql_refuses_does_not_make_it_unavailable(engine: AsyncEngine) -> None:
    with pytest.raises(DBAPIError):
        async with connected(engine) as connection:
            await connection.execute(text("INSERT INTO orders DEFAULT VALUES"))


async def test_postgresql_shows_whose_each_connection_is(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        name = await connection.execute(text("SHOW application_name"))

    assert name.scalar_one() == "tests-database"
