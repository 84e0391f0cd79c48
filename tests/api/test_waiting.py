"""Writing when no worker answers in time, or when nobody waits for one."""

import asyncio
import gc
from uuid import uuid4

import httpx2
import pytest

from tests.api.conftest import Json, a_body, api_of, history, move, place, put, read
from tests.api.outages import without_postgresql
from tests.system import System, eventually
from workflows.order import OrderWorkflow

ASYNC = {"Prefer": "respond-async"}


async def place_unanswered(http: httpx2.AsyncClient, **headers: str) -> Json:
    """Place an order that no worker answers for: what is known of it."""
    response = await http.post("/orders/", json=a_body(), headers=headers)
    assert_accepted(response)
    return {"id": response.json()["order_id"]}


def assert_accepted(response: httpx2.Response) -> None:
    assert (response.status_code, response.headers["Retry-After"]) == (202, "1")
    assert response.headers["Location"] == f"/orders/{response.json()['order_id']}"


async def until_it_has_version(http: httpx2.AsyncClient, order: Json, at_least: int) -> Json:
    """The order, once it can be read and has come so far."""
    found: Json = {}

    async def is_there() -> bool:
        found.update(await read(http, order))
        return "version" in found and found["version"] >= at_least

    await eventually(is_there)
    return found


async def test_an_order_placed_without_a_worker_is_accepted_and_appears_with_one(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    body = a_body()

    response = await lonely_http.post("/orders/", json=body)

    assert_accepted(response)
    assert response.json()["command_id"] == response.json()["order_id"]
    async with lonely.workers():
        order = await until_it_has_version(lonely_http, {"id": response.json()["order_id"]}, 1)
    assert (order["status"], order["customer_id"]) == ("PENDING", body["customer_id"])


async def test_a_change_without_a_worker_is_accepted_and_carried_out_once_with_one(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    order = await place_unanswered(lonely_http)

    response = await put(lonely_http, order, "PROCESSING", changed_by="ann", reason="paid")

    assert_accepted(response)
    async with lonely.workers():
        await until_it_has_version(lonely_http, order, 2)
        state = await lonely.handle(order["id"]).query(OrderWorkflow.order)
    changes = await history(lonely_http, order["id"])
    assert [
        ("PENDING", "api", None, order["id"]),
        ("PROCESSING", "ann", "paid", response.json()["command_id"]),
    ] == [(step["new_status"], step["changed_by"], step["reason"], step["command_id"]) for step in changes]
    assert state.rejections == ()


async def test_a_command_that_was_refused_in_its_turn_is_not_carried_out_later(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    order = await place_unanswered(lonely_http)
    for status in ("PROCESSING", "DELIVERED", "SHIPPED"):
        assert_accepted(await put(lonely_http, order, status))

    async with lonely.workers():
        await until_it_has_version(lonely_http, order, at_least=3)

    changes = await history(lonely_http, order["id"])
    assert [step["new_status"] for step in changes] == ["PENDING", "PROCESSING", "SHIPPED"]


async def test_an_order_that_has_only_been_accepted_is_not_yet_readable(
    lonely_http: httpx2.AsyncClient,
) -> None:
    order = await place_unanswered(lonely_http)

    for path in ("", "/history"):
        response = await lonely_http.get(f"/orders/{order['id']}{path}")

        assert (response.status_code, response.json()["code"]) == (503, "not_yet_readable")
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PUT", "/status"), ("DELETE", "")])
async def test_an_unknown_order_is_not_found_even_without_a_worker(
    lonely_http: httpx2.AsyncClient, method: str, path: str
) -> None:
    body = {"status": "PROCESSING"} if method == "PUT" else None

    response = await lonely_http.request(method, f"/orders/{uuid4()}{path}", json=body)

    assert response.status_code == 404


async def test_a_cancellation_while_the_worker_is_away_is_carried_out_when_it_is_back(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    async with lonely.workers():
        order = await until_it_has_version(lonely_http, await place_unanswered(lonely_http, **ASYNC), 1)

    response = await lonely_http.delete(f"/orders/{order['id']}")

    assert_accepted(response)
    assert await read(lonely_http, order) == order
    async with lonely.workers():
        assert (await until_it_has_version(lonely_http, order, 2))["status"] == "CANCELLED"


async def test_an_order_that_postgresql_does_not_have_yet_is_shown_by_its_workflow(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    async with without_postgresql(lonely) as cut_off, cut_off.workers():
        order = await place_unanswered(lonely_http)
        assert_accepted(await put(lonely_http, order, "PROCESSING"))

        from_workflow = await lonely_http.get(f"/orders/{order['id']}")
        told = await history(lonely_http, order["id"])

    assert (from_workflow.status_code, from_workflow.headers["ETag"]) == (200, '"2"')
    assert [step["new_status"] for step in told] == ["PENDING", "PROCESSING"]
    async with lonely.workers():
        projected = await until_it_has_version_in_the_list(lonely_http, from_workflow.json())
    assert projected == from_workflow.json()


async def until_it_has_version_in_the_list(http: httpx2.AsyncClient, order: Json) -> Json:
    """The order as PostgreSQL has it; only the list never asks the workflow."""
    found: list[Json] = []

    async def is_listed() -> bool:
        page = await http.get("/orders/", params={"customer_id": order["customer_id"]})
        found[:] = [it for it in page.json()["orders"] if it["version"] == order["version"]]
        return bool(found)

    await eventually(is_listed)
    return found[0]


@pytest.mark.parametrize(
    "prefer", ["respond-async", "Respond-Async", "wait=5, respond-async", "respond-async,x"]
)
async def test_who_does_not_want_to_wait_is_answered_at_once(http: httpx2.AsyncClient, prefer: str) -> None:
    response = await http.post("/orders/", json=a_body(), headers={"Prefer": prefer})

    assert_accepted(response)
    order = await until_it_has_version(http, {"id": response.json()["order_id"]}, 1)
    accepted = await http.delete(f"/orders/{order['id']}", headers={"Prefer": prefer})
    assert_accepted(accepted)
    await until_it_has_version(http, order, 2)
    assert (await history(http, order["id"]))[-1]["command_id"] == accepted.json()["command_id"]


async def test_preferences_may_come_on_several_lines(http: httpx2.AsyncClient) -> None:
    headers = [("Prefer", "wait=5"), ("Prefer", "respond-async")]

    assert_accepted(await http.post("/orders/", json=a_body(), headers=headers))


@pytest.mark.parametrize("prefer", ["return=minimal", "wait=5", "respond-asynchronously"])
async def test_any_other_preference_is_passed_over(http: httpx2.AsyncClient, prefer: str) -> None:
    assert (await http.post("/orders/", json=a_body(), headers={"Prefer": prefer})).status_code == 201


async def test_a_change_that_is_refused_later_leaves_the_order_as_it_is(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)

    response = await http.put(f"/orders/{order['id']}/status", json={"status": "DELIVERED"}, headers=ASYNC)

    assert_accepted(response)

    async def is_refused() -> bool:
        state = await system.handle(order["id"]).query(OrderWorkflow.order)
        return [it.command_id for it in state.rejections] == [response.json()["command_id"]]

    await eventually(is_refused)
    assert await read(http, order) == order


async def test_who_does_not_want_to_wait_is_still_told_that_an_order_is_over(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await move(http, await place(http), "CANCELLED")
    await system.handle(order["id"]).result()

    response = await http.delete(f"/orders/{order['id']}", headers=ASYNC)

    assert (response.status_code, response.json()["detail"]) == (
        409,
        "Cannot cancel order with status CANCELLED",
    )


async def test_giving_up_on_a_worker_leaves_nothing_behind_in_the_log(
    lonely: System, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_of(lonely) as http:
        order = await place_unanswered(http)
        await put(http, order, "PROCESSING")
        await http.delete(f"/orders/{order['id']}")

    gc.collect()
    await asyncio.sleep(0)

    assert [it.getMessage() for it in caplog.records if "never retrieved" in it.getMessage()] == []
