"""The API as a process: what `tests/api` asks of the application in its own process is not asked again."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from database.projection import project
from embedded.child import free_port
from tests.builders import a_record
from tests.conftest import Systems
from tests.processes import Run, run_to_its_end, servers_of, started
from tests.system import System, a_customer, eventually

BODY = {"items": [{"product_id": "mouse", "quantity": 2, "unit_price": "25.50"}]}


@pytest.fixture(scope="module")
async def unserved(systems: Systems) -> AsyncIterator[System]:
    """A system without a worker."""
    async with systems("door") as system:
        yield system


@asynccontextmanager
async def serving(system: System, **environment: str) -> AsyncIterator[tuple[Run, httpx2.AsyncClient]]:
    """An API of the system and a client of it, from its first line until the block ends."""
    port = str(free_port())
    environment = servers_of(system) | {"ORDERS_API_PORT": port} | environment
    async with started("-m", "api", **environment) as api:
        await api.until_said(f"running on http://127.0.0.1:{port}")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            yield api, http


async def test_it_answers_from_its_first_line_on_and_ends_in_order(unserved: System) -> None:
    async with serving(unserved) as (api, http):
        assert (await http.get("/health/ready")).status_code == 200
        assert await api.asked_to_stop() == 0


async def test_an_open_api_does_not_answer_a_proxy_that_asks_for_somebody_else(unserved: System) -> None:
    async with serving(unserved) as (_, http):
        own = await http.get("/orders/")
        others = await http.get("/orders/", headers={"X-Forwarded-For": "203.0.113.7"})

    assert (own.status_code, others.status_code) == (200, 421)


async def test_a_request_in_hand_is_answered_before_it_ends(unserved: System) -> None:
    customer = a_customer()

    async def is_in_hand() -> bool:
        return (await unserved.client.count_workflows(f"CustomerId = '{customer}'")).count == 1

    async with serving(unserved, ORDERS_ANSWER_DEADLINE="1") as (api, http):
        asked = asyncio.create_task(http.post("/orders/", json=BODY | {"customer_id": customer}))
        await eventually(is_in_hand)
        assert await api.asked_to_stop() == 0
        assert (await asked).status_code == 202


async def test_a_request_that_never_ends_does_not_hold_it_up(unserved: System) -> None:
    head = (
        "POST /orders/ HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )

    async with serving(unserved, ORDERS_ANSWER_DEADLINE="0.1") as (api, http):
        with socket.create_connection((http.base_url.host, http.base_url.port)) as request:
            request.sendall(head.encode())
            await http.get("/health")  # so that the other request has arrived, too
            assert await api.asked_to_stop() == 0


async def test_while_temporal_is_away_it_starts_and_reads_are_served(unserved: System) -> None:
    record = a_record()
    await project(unserved.engine, record)

    async with serving(unserved, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}") as (_, http):
        order = await http.get(f"/orders/{record.order.id}")
        ready = await http.get("/health/ready")
        refused = await http.post("/orders/", json=BODY | {"customer_id": a_customer()})

    assert order.json()["id"] == str(record.order.id)
    assert ready.json()["dependencies"] == {"postgresql": "up", "temporal": "down"}
    assert (ready.status_code, refused.status_code) == (503, 503)


async def test_where_its_namespace_does_not_exist_it_is_not_ready_and_accepts_nothing(
    unserved: System,
) -> None:
    async with serving(unserved, TEMPORAL_NAMESPACE="missing") as (_, http):
        ready = await http.get("/health/ready")
        refused = await http.post("/orders/", json=BODY | {"customer_id": a_customer()})

    assert ready.json()["dependencies"] == {"postgresql": "up", "temporal": "down"}
    assert (ready.status_code, refused.status_code) == (503, 503)


async def test_a_busy_port_is_told_in_one_line(unserved: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = servers_of(unserved) | {"ORDERS_API_PORT": str(port), "LOG_LEVEL": "WARNING"}
        code, log = await run_to_its_end("-m", "api", **environment)

    assert code != 0
    (line,) = log
    assert str(port) in line
    assert "address already in use" in line


async def test_a_missing_database_is_one_line_and_exit_code_2() -> None:
    code, (line,) = await run_to_its_end("-m", "api")

    assert code == 2
    assert line.startswith("api: DATABASE_URL is not set: ")
