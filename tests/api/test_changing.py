"""PUT /orders/{order_id}/status and DELETE /orders/{order_id}."""

import asyncio
from uuid import uuid4

import httpx2
import pytest

from orders.status import TRANSITIONS, OrderStatus
from tests.api.conftest import Json, history, move, place, put, read
from tests.system import System

WAY_TO: dict[str, tuple[str, ...]] = {
    "PENDING": (),
    "PROCESSING": ("PROCESSING",),
    "SHIPPED": ("PROCESSING", "SHIPPED"),
    "DELIVERED": ("PROCESSING", "SHIPPED", "DELIVERED"),
    "CANCELLED": ("CANCELLED",),
}


async def test_an_order_goes_through_its_whole_life(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    for version, status in enumerate(("PROCESSING", "SHIPPED", "DELIVERED"), start=2):
        response = await put(http, order, status)

        assert (response.status_code, response.headers["ETag"]) == (200, f'"{version}"')
        assert (response.json()["status"], response.json()["version"]) == (status, version)
        assert response.json() == await read(http, order)


async def test_a_change_touches_nothing_but_the_status(http: httpx2.AsyncClient) -> None:
    before = await place(http)

    after = await move(http, before, "PROCESSING")

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"status", "version", "updated_at", "allowed_transitions"}


async def test_cancelling_answers_with_the_cancelled_order_which_stays_readable(
    http: httpx2.AsyncClient,
) -> None:
    order = await place(http)

    response = await http.delete(f"/orders/{order['id']}")

    assert (response.status_code, response.headers["ETag"]) == (200, '"2"')
    assert (response.json()["status"], response.json()["allowed_transitions"]) == ("CANCELLED", [])
    assert response.json() == await read(http, order)


async def test_an_order_may_be_cancelled_by_a_change_of_status_too(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    response = await put(http, order, "CANCELLED", changed_by="ann", reason="too late")

    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    last = (await history(http, order["id"]))[-1]
    assert (last["changed_by"], last["reason"]) == ("ann", "too late")


@pytest.mark.parametrize("current", OrderStatus)
async def test_a_move_that_the_state_machine_does_not_have_is_a_conflict(
    http: httpx2.AsyncClient, current: OrderStatus
) -> None:
    order = await move(http, await place(http), *WAY_TO[current])

    for requested in set(OrderStatus) - set(TRANSITIONS[current]):
        response = await put(http, order, requested)

        assert response.status_code == 409
        problem = response.json()
        assert (problem["title"], problem["code"]) == ("Conflict", "invalid_transition")
        assert (problem["current_status"], problem["requested_status"]) == (current, requested)
        assert problem["allowed_transitions"] == list(TRANSITIONS[current])
    assert await read(http, order) == order


async def test_a_wrong_move_is_explained_and_changes_nothing(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    response = await put(http, order, "DELIVERED")

    assert response.json()["detail"] == "Invalid status transition from PENDING to DELIVERED"
    assert await read(http, order) == order
    assert len(await history(http, order["id"])) == 1


@pytest.mark.parametrize("current", ["PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"])
async def test_only_a_pending_order_may_be_cancelled(http: httpx2.AsyncClient, current: str) -> None:
    order = await move(http, await place(http), *WAY_TO[current])

    response = await http.delete(f"/orders/{order['id']}")

    assert response.status_code == 409
    assert response.json()["detail"] == f"Cannot cancel order with status {current}"
    assert (response.json()["current_status"], response.json()["requested_status"]) == (current, "CANCELLED")
    assert await read(http, order) == order


async def test_a_second_cancellation_is_a_conflict(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    await http.delete(f"/orders/{order['id']}")

    response = await http.delete(f"/orders/{order['id']}")

    assert response.status_code == 409
    assert response.json()["detail"] == "Cannot cancel order with status CANCELLED"


async def test_an_order_whose_workflow_has_finished_moves_no_more(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await move(http, await place(http), "PROCESSING", "SHIPPED", "DELIVERED")
    await system.handle(order["id"]).result()

    response = await put(http, order, "SHIPPED")

    assert response.status_code == 409
    assert response.json()["detail"] == "Invalid status transition from DELIVERED to SHIPPED"
    assert (response.json()["current_status"], response.json()["allowed_transitions"]) == ("DELIVERED", [])


async def test_an_open_order_without_its_workflow_is_a_fault_of_ours(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)
    await system.handle(order["id"]).terminate()

    response = await put(http, order, "PROCESSING")

    assert (response.status_code, response.json()["code"]) == (503, "workflow_missing")
    assert response.headers["Retry-After"] == "60"
    assert (await read(http, order))["status"] == "PENDING"


@pytest.mark.parametrize(
    "statuses", [["PROCESSING"] * 12, ["CANCELLED"] * 12, ["PROCESSING", "CANCELLED"] * 6]
)
async def test_of_racing_changes_exactly_one_wins(http: httpx2.AsyncClient, statuses: list[str]) -> None:
    order = await place(http)

    responses = await asyncio.gather(*(put(http, order, status) for status in statuses))

    assert sorted(response.status_code for response in responses) == [200] + [409] * 11
    won = next(response.json() for response in responses if response.status_code == 200)
    assert await read(http, order) == won
    assert [step["new_status"] for step in await history(http, order["id"])] == ["PENDING", won["status"]]


CALLS = (("PUT", "/orders/{}/status"), ("PUT", "/orders/{}/status/"), ("DELETE", "/orders/{}"))


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("prefer", ["", "respond-async"])
async def test_an_order_that_nobody_placed_cannot_change(
    http: httpx2.AsyncClient, method: str, path: str, prefer: str
) -> None:
    unknown = uuid4()
    body = {"status": "PROCESSING"} if method == "PUT" else None

    response = await http.request(method, path.format(unknown), json=body, headers={"Prefer": prefer})

    assert response.status_code == 404
    assert response.json()["detail"] == f"Order {unknown} not found"


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_what_is_not_a_uuid_cannot_change(http: httpx2.AsyncClient, method: str, path: str) -> None:
    body = {"status": "PROCESSING"} if method == "PUT" else None

    response = await http.request(method, path.format("first"), json=body)

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == ["path.order_id"]


@pytest.mark.parametrize("path", ["/orders/{}", "/orders/{}/"])
async def test_an_order_is_cancelled_with_and_without_the_last_slash(
    http: httpx2.AsyncClient, path: str
) -> None:
    order = await place(http)

    assert (await http.delete(path.format(order["id"]))).status_code == 200


@pytest.mark.parametrize("prefer", ["", "respond-async"])
@pytest.mark.parametrize(
    ("members", "place_of_error"),
    [
        ({}, "body.status"),
        ({"status": "processing"}, "body.status"),
        ({"status": "LOST"}, "body.status"),
        ({"status": None}, "body.status"),
        ({"status": "PROCESSING", "note": "x"}, "body.note"),
        ({"status": "PROCESSING", "changed_by": ""}, "body.changed_by"),
        ({"status": "PROCESSING", "changed_by": "  "}, "body.changed_by"),
        ({"status": "PROCESSING", "changed_by": "x" * 256}, "body.changed_by"),
        ({"status": "PROCESSING", "changed_by": "a\0b"}, "body.changed_by"),
        ({"status": "PROCESSING", "reason": "x" * 1001}, "body.reason"),
        ({"status": "PROCESSING", "reason": "a\nb"}, "body.reason"),
        ({"status": "PROCESSING", "reason": 7}, "body.reason"),
    ],
)
async def test_a_change_that_has_no_meaning_is_refused_whether_or_not_anybody_waits(
    http: httpx2.AsyncClient, members: Json, place_of_error: str, prefer: str
) -> None:
    order = await place(http)

    response = await http.put(f"/orders/{order['id']}/status", json=members, headers={"Prefer": prefer})

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == [place_of_error]
    assert await read(http, order) == order


async def test_names_and_reasons_may_be_in_any_script(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    await put(http, order, "PROCESSING", changed_by="Ζωή 😀 " * 30, reason="\u202e| **x** `" * 100)

    last = (await history(http, order["id"]))[-1]
    assert (last["changed_by"], last["reason"]) == ("Ζωή 😀 " * 30, "\u202e| **x** `" * 100)
