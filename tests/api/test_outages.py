"""What the API still does when PostgreSQL or Temporal is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import httpx2
import pytest

from tests.api.conftest import Json, a_body, api_of, impatient, move, place, put, read
from tests.api.outages import (
    with_a_line_to_postgresql,
    with_a_line_to_temporal,
    with_a_slow_postgresql,
    with_a_temporal_that_soon_has_enough,
    without_temporal,
)
from tests.system import System, eventually

Outage = Callable[[System], AbstractAsyncContextManager[System]]

READS = ("/orders/{}", "/orders/{}/history", "/orders/")
WRITES: tuple[tuple[str, str, Json | None], ...] = (
    ("POST", "/orders/", a_body()),
    ("PUT", "/orders/{}/status", {"status": "PROCESSING"}),
    ("DELETE", "/orders/{}", None),
)
# An answer that takes so many times the deadline of a test's API will never come.
FAR_BEYOND_THE_DEADLINE = 5.0


@asynccontextmanager
async def never_connected(system: System) -> AsyncIterator[System]:
    async with without_temporal(impatient(system)) as broken:
        yield broken


@asynccontextmanager
async def cut_off(system: System) -> AsyncIterator[System]:
    async with with_a_line_to_temporal(impatient(system)) as (broken, line):
        line.cut()
        yield broken


@asynccontextmanager
async def ignored(system: System) -> AsyncIterator[System]:
    async with with_a_line_to_temporal(impatient(system)) as (broken, line):
        line.is_deaf = line.is_mute = True
        yield broken


def assert_unavailable(response: httpx2.Response, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (503, code)
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", READS)
async def test_reads_do_not_need_temporal(system: System, http: httpx2.AsyncClient, path: str) -> None:
    order = await place(http)

    async with never_connected(system) as broken, api_of(broken) as cut:
        response = await cut.get(path.format(order["id"]))

    assert response.status_code == 200


@pytest.mark.parametrize("prefer", ["", "respond-async"])
@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_without_temporal_promises_nothing_and_asks_to_come_back(  # noqa: PLR0913, PLR0917
    system: System, http: httpx2.AsyncClient, method: str, path: str, body: Json | None, prefer: str
) -> None:
    order = await place(http)

    async with never_connected(system) as broken, api_of(broken) as cut:
        response = await cut.request(method, path.format(order["id"]), json=body, headers={"Prefer": prefer})

    assert_unavailable(response, "temporal_unavailable")
    assert await read(http, order) == order


@pytest.mark.parametrize(
    ("outage", "prefer"),
    [(cut_off, ""), (cut_off, "respond-async"), (ignored, ""), (ignored, "respond-async")],
)
async def test_a_write_is_answered_in_time_when_temporal_goes_away(
    system: System, http: httpx2.AsyncClient, outage: Outage, prefer: str
) -> None:
    order = await place(http)

    async with outage(system) as broken, api_of(broken) as cut, asyncio.timeout(FAR_BEYOND_THE_DEADLINE):
        response = await cut.delete(f"/orders/{order['id']}", headers={"Prefer": prefer})

    assert_unavailable(response, "temporal_unavailable")
    assert await read(http, order) == order


async def test_a_write_whose_acknowledgement_is_lost_is_not_called_void(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)

    async with with_a_line_to_temporal(impatient(system)) as (broken, line), api_of(broken) as cut:
        line.is_mute = True
        response = await cut.delete(f"/orders/{order['id']}")

        async def is_carried_out() -> bool:
            return bool((await read(http, order))["status"] == "CANCELLED")

        await eventually(is_carried_out)

    assert_unavailable(response, "temporal_unavailable")
    assert "nothing was accepted" not in response.json()["detail"]


@pytest.mark.parametrize("outage", [never_connected, cut_off, ignored])
async def test_without_temporal_nobody_says_whether_an_unknown_order_exists(
    system: System, outage: Outage
) -> None:
    async with outage(system) as broken, api_of(broken) as cut, asyncio.timeout(FAR_BEYOND_THE_DEADLINE):
        response = await cut.get(f"/orders/{uuid4()}")

    assert_unavailable(response, "temporal_unavailable")


@pytest.mark.parametrize("path", READS)
async def test_a_read_without_postgresql_asks_to_come_back(
    system: System, http: httpx2.AsyncClient, path: str
) -> None:
    order = await place(http)

    async with with_a_line_to_postgresql(system) as (broken, line), api_of(broken) as cut:
        line.cut()
        response = await cut.get(path.format(order["id"]))

    assert_unavailable(response, "database_unavailable")


@pytest.mark.parametrize("path", ["/orders/{}", "/orders/"])
async def test_a_read_that_takes_postgresql_too_long_asks_to_come_back(
    system: System, http: httpx2.AsyncClient, path: str
) -> None:
    order = await place(http)

    async with with_a_slow_postgresql(system) as broken, api_of(broken) as cut:
        response = await cut.get(path.format(order["id"]))

    assert_unavailable(response, "database_unavailable")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_whose_outcome_nobody_can_read_is_accepted_and_carried_out(
    system: System, http: httpx2.AsyncClient, method: str, path: str, body: Json | None
) -> None:
    order = await place(http)

    async with with_a_line_to_postgresql(impatient(system)) as (broken, line), api_of(broken) as cut:
        line.cut()
        response = await cut.request(method, path.format(order["id"]), json=body)

    assert response.status_code == 202

    async def is_carried_out() -> bool:
        found = await http.get(f"/orders/{response.json()['order_id']}/history")
        return response.json()["command_id"] in {step["command_id"] for step in found.json()["history"]}

    await eventually(is_carried_out)


async def test_without_postgresql_the_workflow_answers_for_an_order_that_is_over(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await move(http, await place(http), "CANCELLED")
    await system.handle(order["id"]).result()

    async with with_a_line_to_postgresql(system) as (broken, line), api_of(broken) as cut:
        line.cut()
        response = await put(cut, order, "PROCESSING")

    assert (response.status_code, response.json()["current_status"]) == (409, "CANCELLED")


async def test_an_order_that_was_sent_all_the_signals_that_it_can_take_is_unavailable_not_broken(
    system: System,
) -> None:
    async with with_a_temporal_that_soon_has_enough(system, signals=3) as flooded, api_of(flooded) as http:
        placed = await http.post("/orders/", json=a_body(), headers={"Prefer": "respond-async"})
        path = f"/orders/{placed.json()['order_id']}/status"
        answers = [
            await http.put(path, json={"status": "PROCESSING"}, headers={"Prefer": "respond-async"})
            for _ in range(4)
        ]

    assert [answer.status_code for answer in answers[:3]] == [202] * 3
    assert_unavailable(answers[3], "temporal_unavailable")
