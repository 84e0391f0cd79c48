"""Outages as users meet them, on servers that no other test shares: what was accepted drains by itself."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from database import queries
from orders.names import ORDERS_QUEUE, workflow_id
from orders.status import OrderStatus
from tests.api.conftest import a_body, an_item, api_of, impatient, place, put
from tests.builders import a_place_order
from tests.builders import an_item as a_line
from tests.conftest import running_servers, system_in
from tests.system import System, eventually
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def troubled() -> AsyncIterator[System]:
    """A system on servers of its own, with its workers."""
    async with running_servers() as servers, system_in(servers, "shared") as system, system.workers():
        yield impatient(system)
        await system.replay_everything()


@pytest.fixture
async def http(troubled: System) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_of(troubled) as client:
        yield client


@pytest.fixture
async def admin(troubled: System) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection, open before any trouble begins."""
    connection = await asyncpg.connect(_plain(troubled))
    yield connection
    await connection.close()


def _plain(system: System) -> str:
    return system.settings.require_database_url().replace("+asyncpg", "")


async def until_projected(system: System, order_id: str, status: OrderStatus) -> None:
    async def it_is() -> bool:
        order = await queries.get_order(system.engine, UUID(order_id))
        return order is not None and order.status is status

    await eventually(it_is)


# Too many connections


@asynccontextmanager
async def a_connection_storm(system: System) -> AsyncIterator[None]:
    """Somebody has every connection that PostgreSQL allows, the system's own included."""
    async with AsyncExitStack() as held:
        first = await asyncpg.connect(_plain(system))
        held.push_async_callback(first.close)
        while True:
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    held.push_async_callback((await asyncpg.connect(_plain(system))).close)
            if not await first.fetchval(_END_THE_SYSTEMS_OWN):
                break
        yield


_END_THE_SYSTEMS_OWN = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'tests-%'
"""


async def test_a_connection_storm_refuses_reads_and_loses_no_write(
    troubled: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)

    async with a_connection_storm(troubled):
        read = await http.get(f"/orders/{order['id']}")
        changed = await put(http, order, "PROCESSING")
        placed = await http.post("/orders/", json=a_body())

    assert (read.status_code, read.json()["code"]) == (503, "database_unavailable")
    assert "Retry-After" in read.headers
    assert (changed.status_code, placed.status_code) == (202, 202)
    await until_projected(troubled, order["id"], OrderStatus.PROCESSING)
    await until_projected(troubled, placed.json()["order_id"], OrderStatus.PENDING)


# A full disk


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MiB."""
    with TemporaryDirectory(prefix="orders-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        mounted = subprocess.run(  # noqa: S603
            ["mount", "-t", "tmpfs", "-o", "size=16m,mode=711", "tmpfs", name],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if (
            mounted.returncode
        ):  # only root may mount, and not in every container; there is no other small disk
            pytest.skip("no file system can be mounted here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)  # noqa: S603, S607


async def test_a_full_disk_loses_no_order_and_everything_goes_on_once_there_is_room(
    troubled: System, http: httpx2.AsyncClient, admin: asyncpg.Connection, small_disk: Path
) -> None:
    folder = small_disk / "tablespace"
    folder.mkdir(mode=0o700)
    owner = os.stat(await admin.fetchval("SHOW data_directory"))  # noqa: PTH116 - a Path would count as blocking
    os.chown(folder, owner.st_uid, owner.st_gid)
    await admin.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    await admin.execute("ALTER TABLE order_items SET TABLESPACE small")
    try:
        await admin.execute("CREATE TABLE filler (text text) TABLESPACE small")
        with pytest.raises(asyncpg.DiskFullError):
            await admin.execute(
                "INSERT INTO filler SELECT repeat(md5(n::text), 20) FROM generate_series(1, 100000) n"
            )
        await admin.execute("CREATE TABLE last (n int) TABLESPACE small")
        with pytest.raises(asyncpg.DiskFullError):
            await admin.execute("INSERT INTO last SELECT generate_series(1, 1000000)")
        large = [an_item(product_id=f"product-{number}") for number in range(500)]
        accepted = await http.post("/orders/", json=a_body(items=large))
        still_read = await http.get("/orders/")
        explained = await _explained(http, accepted.json()["order_id"])
    finally:
        await admin.execute("DROP TABLE IF EXISTS filler, last")

    assert (accepted.status_code, still_read.status_code) == (202, 200)
    assert "No space left on device" in explained["waits_for"]
    await until_projected(troubled, accepted.json()["order_id"], OrderStatus.PENDING)
    await admin.execute("ALTER TABLE order_items SET TABLESPACE pg_default")
    await admin.execute("DROP TABLESPACE small")


async def _explained(http: httpx2.AsyncClient, order_id: str) -> Json:
    """What the order waits for, once it has failed to be written."""
    found: Json = {}

    async def it_says_so() -> bool:
        found.update((await http.get(f"/orders/{order_id}/explain")).json())
        return any(activity["last_failure"] for activity in found["pending_activities"])

    await eventually(it_says_so)
    return found


# An order that can never be written


async def test_a_poison_order_stops_no_other_and_says_what_is_wrong(
    troubled: System, http: httpx2.AsyncClient
) -> None:
    poison = a_place_order(a_line(quantity=0))
    await troubled.client.start_workflow(
        OrderWorkflow.run,
        OrderInput(place=poison),
        id=workflow_id(poison.order_id),
        task_queue=ORDERS_QUEUE,
    )

    explained = await _explained(http, str(poison.order_id))
    others = [await place(http) for _ in range(3)]
    moved = [(await put(http, order, "PROCESSING")).status_code for order in others]

    assert moved == [200, 200, 200]
    assert "ck_order_items_quantity" in explained["waits_for"]
    assert (await http.get(f"/orders/{poison.order_id}")).status_code in {200, 503}
    await troubled.handle(poison.order_id).terminate("it can never be written")
