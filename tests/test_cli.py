from collections.abc import AsyncIterator

import asyncpg
import pytest

from embedded.child import free_port
from tests.conftest import Servers
from tests.databases import EMPTY, a_database
from tests.processes import run_to_its_end


@pytest.fixture
async def empty_database(servers: Servers) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    async with a_database(servers.database_url, EMPTY) as url:
        yield url


async def orders(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code of the `orders` command, and what it said."""
    return await run_to_its_end("-m", "cli", *arguments, **environment)


async def refusal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a command that cannot do its work, and the one line that it says."""
    code, (line,) = await orders(*arguments, **environment)
    return code, line


async def tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows}


async def test_help_lists_every_command_without_loading_what_they_need() -> None:
    code, log = await run_to_its_end("-X", "importtime", "-m", "cli", "--help")

    loaded = {line.rpartition("|")[2].strip() for line in log}
    assert code == 0
    assert {"dev", "migrate", "schedule", "demo"} <= {line.split()[0] for line in log}
    assert "typer" in loaded
    assert not loaded & {"temporalio", "sqlalchemy", "asyncpg", "pydantic", "fastapi"}


async def test_an_unknown_command_is_refused() -> None:
    code, log = await orders("pigs")

    assert code == 2
    assert "Error: No such command 'pigs'." in log


async def test_migrating_makes_every_table_and_a_second_time_changes_nothing(empty_database: str) -> None:
    first = await orders("migrate", DATABASE_URL=empty_database)
    second = await orders("migrate", DATABASE_URL=empty_database)

    assert (first, second) == ((0, []), (0, []))
    assert {"orders", "order_items", "order_status_history"} <= await tables(empty_database)


async def test_a_url_with_libpqs_word_for_tls_is_understood(empty_database: str) -> None:
    """As managed databases hand it out: with `sslmode`."""
    assert await orders("migrate", DATABASE_URL=f"{empty_database}?sslmode=disable") == (0, [])


async def test_a_parameter_of_the_url_that_nobody_knows_is_one_line(empty_database: str) -> None:
    code, line = await refusal("migrate", DATABASE_URL=f"{empty_database}?colour=red")

    assert code in {1, 2}
    assert line.startswith("orders: DATABASE_URL: ")


async def test_a_missing_database_is_one_line_and_exit_code_2() -> None:
    code, line = await refusal("migrate")

    assert code == 2
    assert line.startswith("orders: DATABASE_URL is not set: ")


async def test_a_database_that_does_not_answer_is_one_line() -> None:
    port = free_port()

    code, line = await refusal("migrate", DATABASE_URL=f"postgresql://orders@127.0.0.1:{port}/orders")

    assert code == 1
    assert line.startswith("orders: DATABASE_URL: ")
    assert str(port) in line


async def test_a_database_that_does_not_exist_is_one_line_that_names_it(servers: Servers) -> None:
    code, line = await refusal("migrate", DATABASE_URL=f"{servers.database_url}-missing")

    assert code == 1
    assert line.startswith("orders: DATABASE_URL: ")
    assert '"orders-missing" does not exist' in line


async def test_a_wrong_password_is_one_line_without_it(servers: Servers) -> None:
    host = servers.database_url.rpartition("@")[2]

    code, line = await refusal("migrate", DATABASE_URL=f"postgresql://orders:hunter2@{host}")

    assert code == 1
    assert "password authentication failed" in line
    assert "hunter2" not in line


async def test_a_temporal_that_does_not_answer_is_one_line_and_exit_code_2() -> None:
    address = f"127.0.0.1:{free_port()}"

    code, line = await refusal("schedule", TEMPORAL_ADDRESS=address)

    assert code == 2
    assert f"Temporal does not answer at {address} (TEMPORAL_ADDRESS): " in line


async def test_a_namespace_that_does_not_exist_is_one_line_that_names_it(servers: Servers) -> None:
    environment = {"TEMPORAL_ADDRESS": servers.temporal_address, "TEMPORAL_NAMESPACE": "missing"}

    code, line = await refusal("schedule", **environment)

    assert code == 2
    assert "namespace missing" in line
