import signal
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from database.projection import project
from embedded.child import free_port
from orders.order import OrderRecord
from orders.status import OrderStatus
from tests.benchmarks.peers import serving
from tests.builders import NOON, a_record
from tests.processes import run_to_its_end, servers_of
from tests.system import System

NEWEST = 50


async def projected(system: System, record: OrderRecord) -> str:
    """The path of an order that PostgreSQL has."""
    await project(system.engine, record)
    return f"/orders/{record.order.id}"


def with_plain_times(order: dict[str, Any]) -> dict[str, Any]:
    """The order, with its times in the form in which Python writes them."""
    return order | {name: order[name].replace("Z", "+00:00") for name in ("created_at", "updated_at")}


async def test_it_answers_an_order_as_the_product_does_but_for_what_no_table_holds(measured: System) -> None:
    path = await projected(measured, a_record(OrderStatus.PROCESSING))

    async with serving("bare", **servers_of(measured)) as (_, bare), measured.http() as product:
        answer = (await bare.get(path)).json()
        expected = (await product.get(path)).json()

    assert expected.pop("allowed_transitions") == ["SHIPPED"]
    assert answer == with_plain_times(expected)
    assert [item["product_id"] for item in answer["items"]] == ["laptop", "mouse"]


async def test_its_list_is_the_newest_fifty(measured: System) -> None:
    later = NOON + timedelta(days=1)
    paths = [
        await projected(measured, a_record(placed_at=later + timedelta(minutes=minute)))
        for minute in range(NEWEST + 1)
    ]

    async with serving("bare", **servers_of(measured)) as (_, bare):
        orders = (await bare.get("/orders/")).json()["orders"]
        assert orders[0] == (await bare.get(paths[-1])).json()

    assert [f"/orders/{order['id']}" for order in orders] == paths[:0:-1]


async def test_what_is_not_there_is_a_404(measured: System) -> None:
    async with serving("bare", **servers_of(measured)) as (_, bare):
        assert (await bare.get(f"/orders/{uuid4()}")).status_code == 404
        assert (await bare.get("/orders/1")).status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_leaves_when_it_is_asked_to(measured: System, number: signal.Signals) -> None:
    async with serving("bare", **servers_of(measured)) as (peer, _):
        assert await peer.asked_to_stop(number) == 0

    assert len(peer.log) == 1


async def test_a_database_without_the_products_tables_is_one_line(measured: System) -> None:
    environment = servers_of(measured)
    environment["DATABASE_URL"] = f"{environment['DATABASE_URL'].rpartition('/')[0]}/postgres"

    code, log = await run_to_its_end("-m", "benchmarks.bare", "--port", "0", **environment)

    assert (code, log) == (2, ['bare: DATABASE_URL: relation "orders" does not exist'])


async def test_a_database_that_is_away_is_one_line() -> None:
    url = f"postgresql://orders@127.0.0.1:{free_port()}/orders"

    code, log = await run_to_its_end("-m", "benchmarks.bare", "--port", "0", DATABASE_URL=url)

    assert code == 2
    assert len(log) == 1
    assert log[0].startswith("bare: DATABASE_URL: ")


async def test_a_port_that_is_taken_is_one_line(measured: System) -> None:
    async with serving("bare", **servers_of(measured)) as (_, bare):
        port = str(bare.base_url.port)
        code, log = await run_to_its_end("-m", "benchmarks.bare", "--port", port, **servers_of(measured))

    assert code == 2
    assert len(log) == 1
    assert log[0].startswith(f"bare: --port {port}: ")
