import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import backup
from orders.commands import PlaceOrder
from orders.status import OrderStatus
from tests.builders import a_change, a_place_order
from tests.conftest import Systems, settings_for
from tests.databases import EMPTY, a_database
from tests.processes import HASTY_ORDERS, run_to_its_end, servers_of
from tests.system import System


@pytest.fixture(scope="module")
async def shop(systems: Systems) -> AsyncIterator[System]:
    """A system whose workers run, with a few orders."""
    async with systems("backup") as system, system.workers():
        for _ in range(3):
            await place(system)
        yield system


async def place(system: System) -> PlaceOrder:
    command = a_place_order()
    assert await system.dispatcher.place(command, wait=True)
    return command


async def orders(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of the `orders` command, and what it said."""
    code, log = await run_to_its_end(*HASTY_ORDERS, *arguments, **environment)
    return code, "\n".join(log)


@asynccontextmanager
async def an_empty_database(system: System) -> AsyncIterator[dict[str, str]]:
    """The environment of a process that belongs to the system, but has a new database."""
    environment = servers_of(system)
    async with a_database(environment["DATABASE_URL"], EMPTY) as url:
        yield environment | {"DATABASE_URL": url}


async def test_what_was_backed_up_is_there_again_and_what_came_since_is_mended(
    shop: System, tmp_path: Path
) -> None:
    file = tmp_path / "orders.dump"
    moved = await place(shop)
    assert (await orders("backup", str(file), **servers_of(shop)))[0] == 0
    await shop.dispatcher.change(moved.order_id, a_change(OrderStatus.PROCESSING), wait=True)
    await place(shop)

    async with an_empty_database(shop) as restored:
        assert (await orders("restore", str(file), **restored))[0] == 0
        assert (await orders("migrate", **restored))[0] == 0
        repaired, findings = await orders("doctor", "--repair", **restored)
        agrees, _ = await orders("doctor", "--deep", **restored)

    assert (repaired, agrees) == (0, 0)
    assert "missing" in findings
    assert "stale" in findings


async def test_a_backup_never_writes_over_another(shop: System, tmp_path: Path) -> None:
    file = tmp_path / "orders.dump"
    file.write_text("the backup of yesterday")

    code, said = await orders("backup", str(file), **servers_of(shop))

    assert (code, said) == (1, f"orders: {file} is there already")
    assert file.read_text() == "the backup of yesterday"


async def test_a_database_that_is_not_empty_is_left_as_it_is(shop: System, tmp_path: Path) -> None:
    file = tmp_path / "orders.dump"
    await orders("backup", str(file), **servers_of(shop))

    code, said = await orders("restore", str(file), **servers_of(shop))

    assert code == 1
    assert said.startswith("orders: The database has ")


async def test_a_file_that_is_no_backup_restores_nothing(shop: System, tmp_path: Path) -> None:
    file = tmp_path / "orders.dump"
    file.write_text("not a backup")

    async with an_empty_database(shop) as restored:
        code, said = await orders("restore", str(file), **restored)
        missing = await orders("restore", str(tmp_path / "nowhere"), **restored)

    assert code == 1
    assert "does not appear to be a valid archive" in said
    assert missing == (1, f"orders: {tmp_path / 'nowhere'} is not there")


async def test_a_backup_that_fails_leaves_no_file(shop: System, tmp_path: Path) -> None:
    environment = servers_of(shop)
    environment["DATABASE_URL"] = environment["DATABASE_URL"].rpartition("/")[0] + "/nowhere"

    code, said = await orders("backup", str(tmp_path / "orders.dump"), **environment)

    assert code == 1
    assert 'database "nowhere" does not exist' in said
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a Path would count as blocking


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        (
            "postgresql://u:p@/orders?host=db.internal&port=6432&sslmode=require&passfile=/secret",
            {
                "PGHOST": "db.internal",
                "PGPORT": "6432",
                "PGUSER": "u",
                "PGPASSWORD": "p",
                "PGPASSFILE": "/secret",
                "PGDATABASE": "orders",
                "PGSSLMODE": "require",
            },
        ),
        (
            "postgresql://u@/orders?host=a:1&host=b:2&target_session_attrs=read-write",
            {
                "PGHOST": "a,b",
                "PGPORT": "1,2",
                "PGUSER": "u",
                "PGDATABASE": "orders",
                "PGTARGETSESSIONATTRS": "read-write",
            },
        ),
    ],
    ids=["parameters", "several-hosts"],
)
async def test_it_reaches_the_server_that_the_application_reaches(
    url: str, reached: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "environment"
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\nenv | grep ^PG > {said}\necho stopped here >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(backup, "_find", lambda _: program)

    with pytest.raises(backup.BackupError, match="stopped here"):
        backup.backup(settings_for(url), tmp_path / "file")

    assert dict(line.split("=", 1) for line in said.read_text().splitlines()) == reached
