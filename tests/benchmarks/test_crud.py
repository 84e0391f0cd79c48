import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx2
import pytest

from database.projection import project
from orders.status import OrderStatus
from tests.benchmarks.peers import serving
from tests.builders import a_record
from tests.conftest import Servers
from tests.databases import EMPTY, a_database
from tests.processes import run_to_its_end, servers_of
from tests.system import System, a_customer, eventually

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def database(servers: Servers) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with a_database(servers.database_url, EMPTY) as url:
        yield url


@pytest.fixture(scope="module")
async def http(database: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the peer, which serves for all tests of this module."""
    async with serving("crud", DATABASE_URL=database) as (_, client):
        yield client


def a_body(customer_id: str | None = None) -> Json:
    items = [
        {"product_id": "laptop", "quantity": 1, "unit_price": 999.99},
        {"product_id": "mouse", "quantity": 2, "unit_price": "25.5"},
    ]
    return {"customer_id": customer_id or a_customer(), "items": items}


async def place(http: httpx2.AsyncClient, customer_id: str | None = None) -> Json:
    response = await http.post("/orders/", json=a_body(customer_id))
    assert response.status_code == 201, response.text
    order: Json = response.json()
    return order


async def put(http: httpx2.AsyncClient, order: Json, status: str) -> httpx2.Response:
    body = {"status": status, "changed_by": "warehouse"}
    return await http.put(f"/orders/{order['id']}/status", json=body)


async def read(http: httpx2.AsyncClient, order: Json, more: str = "") -> Json:
    found: Json = (await http.get(f"/orders/{order['id']}{more}")).json()
    return found


async def listed(http: httpx2.AsyncClient, **parameters: str | int | list[str]) -> Json:
    response = await http.get("/orders/", params=parameters)
    assert response.status_code == 200, response.text
    page: Json = response.json()
    return page


async def test_an_order_lives_from_placed_to_delivered(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    assert (order["status"], order["version"]) == ("PENDING", 1)
    assert order["total_amount"] == "1050.99"
    assert [item["unit_price"] for item in order["items"]] == ["999.99", "25.50"]
    assert order == await read(http, order)

    for version, status in enumerate(("PROCESSING", "SHIPPED", "DELIVERED"), 2):
        moved = await put(http, order, status)
        assert moved.status_code == 200
        assert (moved.json()["status"], moved.json()["version"]) == (status, version)
        assert moved.json() == await read(http, order)

    history = (await read(http, order, "/history"))["history"]
    assert [(change["old_status"], change["new_status"], change["changed_by"]) for change in history] == [
        (None, "PENDING", "api"),
        ("PENDING", "PROCESSING", "warehouse"),
        ("PROCESSING", "SHIPPED", "warehouse"),
        ("SHIPPED", "DELIVERED", "warehouse"),
    ]
    assert history[-1]["changed_at"] == (await read(http, order))["updated_at"]


async def test_its_answers_have_the_products_fields(http: httpx2.AsyncClient, measured: System) -> None:
    order = await place(http)
    record = a_record(OrderStatus.PROCESSING)
    await project(measured.engine, record)

    def fields(answer: object) -> object:
        """The names of the answer's fields, and of those of the first thing in each list of it."""
        if isinstance(answer, dict):
            return {name: fields(value) for name, value in answer.items()}
        return [fields(part) for part in answer[:1]] if isinstance(answer, list) else None

    async with measured.http() as product:
        for path in (
            f"/orders/{order['id']}",
            f"/orders/{order['id']}/history",
            "/orders/?limit=1",
            "/health",
        ):
            expected = await product.get(path.replace(order["id"], str(record.order.id)))
            assert fields((await http.get(path)).json()) == fields(expected.json())


async def test_a_wrong_transition_is_a_409_and_changes_nothing(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    refusal = await put(http, order, "DELIVERED")

    assert refusal.status_code == 409
    assert refusal.json() == {"detail": "Invalid status transition from PENDING to DELIVERED"}
    assert await read(http, order) == order


async def test_an_order_is_cancelled_once(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    first = await http.delete(f"/orders/{order['id']}")
    second = await http.delete(f"/orders/{order['id']}")

    assert (first.status_code, first.json()["status"]) == (200, "CANCELLED")
    assert (second.status_code, second.json()["detail"]) == (409, "Cannot cancel order with status CANCELLED")


async def test_of_changes_that_come_at_once_one_is_made(http: httpx2.AsyncClient, database: str) -> None:
    order = await place(http)
    other = await asyncpg.connect(database)

    async def all_wait() -> bool:
        return bool(await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 10)

    try:
        async with other.transaction():
            await other.execute("SELECT FROM crud_orders WHERE id = $1 FOR UPDATE", order["id"])
            changes = asyncio.gather(*(put(http, order, "PROCESSING") for _ in range(10)))
            await eventually(all_wait)
    finally:
        await other.close()

    assert sorted(answer.status_code for answer in await changes) == [200, *[409] * 9]
    assert len((await read(http, order, "/history"))["history"]) == 2


async def test_an_order_that_is_not_there_is_a_404(http: httpx2.AsyncClient) -> None:
    nobody: Json = {"id": "0190c7b2-6f00-7000-8000-000000000001"}
    path = f"/orders/{nobody['id']}"

    answers = [
        await http.get(path),
        await http.get(f"{path}/history"),
        await http.delete(path),
        await put(http, nobody, "SHIPPED"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert answers[0].json() == {"detail": f"Order {nobody['id']} not found"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"customer_id": ""},
        {"currency": "dollars"},
        {"items": [{"product_id": "mouse", "quantity": 0, "unit_price": 1}]},
        {"items": [{"product_id": "mouse", "quantity": 1, "unit_price": "0.001"}]},
    ],
)
async def test_an_order_that_makes_no_sense_is_a_422(http: httpx2.AsyncClient, wrong: Json) -> None:
    customer = a_customer()

    answer = await http.post("/orders/", json=a_body(customer) | wrong)

    assert answer.status_code == 422
    assert (await listed(http, customer_id=customer))["total"] == 0


async def test_a_list_is_filtered_and_newest_first(http: httpx2.AsyncClient) -> None:
    customer = a_customer()
    pending, shipped, cancelled = [await place(http, customer) for _ in range(3)]
    await place(http)
    await put(http, shipped, "PROCESSING")
    await put(http, shipped, "SHIPPED")
    await http.delete(f"/orders/{cancelled['id']}")

    every = await listed(http, customer_id=customer)
    some = await listed(http, customer_id=customer, status=["PENDING", "SHIPPED"])

    assert [order["id"] for order in every["orders"]] == [cancelled["id"], shipped["id"], pending["id"]]
    assert every["orders"][0] == await read(http, cancelled)
    assert [order["id"] for order in some["orders"]] == [shipped["id"], pending["id"]]
    assert (every["total"], some["total"]) == (3, 2)
    assert (every["page"], every["limit"], every["has_next"], every["has_prev"]) == (1, 50, False, False)
    assert every["next_cursor"] is None


async def test_cursors_and_pages_lead_through_the_same_list(http: httpx2.AsyncClient) -> None:
    customer = a_customer()
    placed = [(await place(http, customer))["id"] for _ in range(5)]

    first = page = await listed(http, customer_id=customer, limit=2)
    by_cursor = [page]
    while page["next_cursor"]:
        page = await listed(http, customer_id=customer, limit=2, cursor=page["next_cursor"])
        by_cursor.append(page)
    by_page = [first, *[await listed(http, customer_id=customer, limit=2, page=page) for page in (2, 3)]]

    for walk in (by_cursor, by_page):
        assert [order["id"] for page in walk for order in page["orders"]] == placed[::-1]
        assert [page["has_next"] for page in walk] == [True, True, False]
        assert [page["has_prev"] for page in walk] == [False, True, True]
    assert [page["total"] for page in by_page] == [5, 5, 5]
    assert [page["total"] for page in by_cursor] == [5, None, None]


async def test_a_cursor_that_is_none_is_a_422(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/orders/", params={"cursor": "none"})).status_code == 422


async def test_it_is_healthy(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/health")).json()["status"] == "healthy"


async def test_pending_orders_are_promoted_and_others_are_left(database: str) -> None:
    async with serving("crud", DATABASE_URL=database, ORDERS_PROMOTION_INTERVAL="1") as (_, http):
        pending, cancelled = await place(http), await place(http)
        assert (await http.delete(f"/orders/{cancelled['id']}")).status_code == 200

        async def it_is_promoted() -> bool:
            return bool((await read(http, pending))["status"] == "PROCESSING")

        await eventually(it_is_promoted)
        history = (await read(http, pending, "/history"))["history"]
        left = await read(http, cancelled)

    assert [(change["version"], change["changed_by"]) for change in history] == [(1, "api"), (2, "promotion")]
    assert (left["status"], left["version"]) == ("CANCELLED", 2)


async def test_orders_outlive_the_process(database: str, http: httpx2.AsyncClient) -> None:
    order = await place(http)

    async with serving("crud", DATABASE_URL=database) as (_, another):
        assert await read(another, order) == order


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_leaves_when_it_is_asked_to(database: str, number: signal.Signals) -> None:
    async with serving("crud", DATABASE_URL=database) as (peer, _):
        assert await peer.asked_to_stop(number) == 0

    assert len(peer.log) == 1


async def refusal(*options: str, **environment: str) -> str:
    """The last line of what it says when it does not start."""
    arguments = ("-m", "benchmarks.crud", "--port", "0", *options)
    code, log = await run_to_its_end(*arguments, **environment)
    assert code == 2
    return log[-1]


async def test_it_keeps_away_from_the_products_database(measured: System) -> None:
    line = await refusal(**servers_of(measured))

    assert line.startswith("crud: DATABASE_URL: that database is the product's: it has api_keys, ")
    async with measured.engine.connect() as connection:
        names = await connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE tablename ~ 'crud'")
        assert not names.all()


async def test_a_database_that_does_not_exist_is_one_line(database: str) -> None:
    name = urlsplit(database).path
    line = await refusal(DATABASE_URL=f"{database.removesuffix(name)}/missing")

    assert line == 'crud: DATABASE_URL: database "missing" does not exist'
