import asyncio
from uuid import uuid4

import httpx2
import pytest

from orders.names import idempotent_order_id
from tests.api.conftest import a_body, an_item
from tests.system import System


def a_key() -> dict[str, str]:
    return {"Idempotency-Key": f"key-{uuid4()}"}


async def place(http: httpx2.AsyncClient) -> str:
    response = await http.post("/orders/", json=a_body())
    assert response.status_code == 201
    return str(response.json()["id"])


def call(method: str, order: str) -> tuple[str, object]:
    """The path and the body of a change that a PENDING order allows."""
    if method == "PUT":
        return f"/orders/{order}/status", {"status": "PROCESSING"}
    return (f"/orders/{order}", None) if method == "DELETE" else ("/orders/", a_body())


async def statuses_of(http: httpx2.AsyncClient, order: str) -> list[str]:
    """Every status that the order has had, oldest first."""
    history = (await http.get(f"/orders/{order}/history")).json()["history"]
    return [change["new_status"] for change in history]


@pytest.fixture(scope="module")
async def placed(http: httpx2.AsyncClient) -> str:
    """An order that stays as it is."""
    return await place(http)


async def signals_of(system: System, order: str) -> int:
    """How many signals the order's workflow was sent."""
    history = await system.handle(order).fetch_history()
    return sum(event.HasField("workflow_execution_signaled_event_attributes") for event in history.events)


async def test_a_repeated_create_is_answered_as_the_first_time(http: httpx2.AsyncClient) -> None:
    key, wanted = a_key(), a_body()
    first = await http.post("/orders/", json=wanted, headers=key)
    await http.put(f"/orders/{first.json()['id']}/status", json={"status": "PROCESSING"})

    again = await http.post("/orders/", json=wanted, headers=key)

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


async def test_a_repeated_create_is_answered_after_the_order_is_over(
    system: System, http: httpx2.AsyncClient
) -> None:
    key, wanted = a_key(), a_body()
    first = await http.post("/orders/", json=wanted, headers=key)
    await http.delete(f"/orders/{first.json()['id']}")
    await system.handle(first.json()["id"]).result()

    again = await http.post("/orders/", json=wanted, headers=key)

    assert (again.status_code, again.json()) == (201, first.json())


async def test_fifty_identical_creates_are_one_order(http: httpx2.AsyncClient) -> None:
    key, wanted = a_key(), a_body()

    answers = await asyncio.gather(*(http.post("/orders/", json=wanted, headers=key) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    listed = await http.get("/orders/", params={"customer_id": str(wanted["customer_id"])})
    assert listed.json()["total"] == 1


async def test_fifty_identical_changes_are_one_transition(http: httpx2.AsyncClient) -> None:
    order, key = await place(http), a_key()
    wanted = {"status": "PROCESSING", "changed_by": "warehouse-7"}

    answers = await asyncio.gather(
        *(http.put(f"/orders/{order}/status", json=wanted, headers=key) for _ in range(50))
    )

    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, 2)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert await statuses_of(http, order) == ["PENDING", "PROCESSING"]


async def test_fifty_identical_cancels_are_one_cancellation(http: httpx2.AsyncClient) -> None:
    order, key = await place(http), a_key()

    answers = await asyncio.gather(*(http.delete(f"/orders/{order}", headers=key) for _ in range(50)))

    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "CANCELLED")}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert await statuses_of(http, order) == ["PENDING", "CANCELLED"]


async def test_a_repeated_cancel_is_answered_as_the_first_time(http: httpx2.AsyncClient) -> None:
    order, key = await place(http), a_key()
    first = await http.delete(f"/orders/{order}", headers=key)

    again = await http.delete(f"/orders/{order}", headers=key)
    another = await http.delete(f"/orders/{order}")

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert another.status_code == 409


@pytest.mark.parametrize(
    "change", [{"items": [an_item(), an_item()]}, {"currency": "EUR"}, {"customer_id": "else"}]
)
async def test_a_key_is_for_one_order(http: httpx2.AsyncClient, change: dict[str, object]) -> None:
    key, wanted = a_key(), a_body()
    first = await http.post("/orders/", json=wanted, headers=key)

    refused = await http.post("/orders/", json=wanted | change, headers=key)

    assert (refused.status_code, refused.json()["code"]) == (422, "command_id_reused")
    assert (await http.get(f"/orders/{first.json()['id']}")).json() == first.json()


async def test_a_key_is_for_one_change(http: httpx2.AsyncClient) -> None:
    order, key = await place(http), a_key()
    await http.put(f"/orders/{order}/status", json={"status": "PROCESSING"}, headers=key)

    refused = await http.put(f"/orders/{order}/status", json={"status": "SHIPPED"}, headers=key)

    assert (refused.status_code, refused.json()["code"]) == (422, "command_id_reused")
    assert (await http.get(f"/orders/{order}")).json()["status"] == "PROCESSING"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_key_is_known_to_who_does_not_wait_too(
    system: System, http: httpx2.AsyncClient, method: str
) -> None:
    order, headers = await place(http), a_key()
    path, body = (
        (f"/orders/{order}/status", {"status": "PROCESSING"})
        if method == "PUT"
        else (f"/orders/{order}", None)
    )
    first = await http.request(method, path, json=body, headers=headers)
    events = await signals_of(system, order)

    headers["Prefer"] = "respond-async"
    again = await http.request(method, path, json=body, headers=headers)
    another = await http.put(f"/orders/{order}/status", json={"status": "SHIPPED"}, headers=headers)

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (another.status_code, another.json()["code"]) == (422, "command_id_reused")
    assert await signals_of(system, order) == events == 1


async def test_a_refused_command_is_decided_afresh(http: httpx2.AsyncClient) -> None:
    order, key = await place(http), a_key()
    wanted = {"status": "SHIPPED"}
    too_early = await http.put(f"/orders/{order}/status", json=wanted, headers=key)
    await http.put(f"/orders/{order}/status", json={"status": "PROCESSING"})

    in_time = await http.put(f"/orders/{order}/status", json=wanted, headers=key)

    assert (too_early.status_code, in_time.status_code) == (409, 200)


async def test_the_order_of_a_key_can_be_known_before_it_is_placed(http: httpx2.AsyncClient) -> None:
    key = a_key()

    placed = await http.post("/orders/", json=a_body(), headers=key)

    assert placed.json()["id"] == str(idempotent_order_id("api", key["Idempotency-Key"]))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ["", " ", "a b", "\x7f", "é".encode("latin-1").decode("latin-1"), "k" * 256])
async def test_a_key_is_1_to_255_visible_characters(
    http: httpx2.AsyncClient, placed: str, method: str, key: str
) -> None:
    path, body = call(method, placed)
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]

    refused = await http.request(method, path, json=body, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert [error["place"] for error in refused.json()["errors"]] == ["header.Idempotency-Key"]
    assert await statuses_of(http, placed) == ["PENDING"]


VISIBLE = "".join(chr(code) for code in range(ord("!"), ord("~") + 1))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ["~", "k" * 255, VISIBLE], ids=["1", "255", "every character"])
async def test_a_key_may_have_every_visible_character(
    http: httpx2.AsyncClient, method: str, key: str
) -> None:
    path, body = call(method, await place(http))

    first = await http.request(method, path, json=body, headers={"Idempotency-Key": key})
    again = await http.request(method, path, json=body, headers={"Idempotency-Key": key})

    assert first.status_code == again.status_code == (201 if method == "POST" else 200)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_key_counts_for_one_order_and_for_placing_apart(http: httpx2.AsyncClient) -> None:
    key = a_key()
    first = await http.post("/orders/", json=a_body(), headers=key)
    second = await place(http)

    answers = [await http.delete(f"/orders/{order}", headers=key) for order in (first.json()["id"], second)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "CANCELLED")] * 2
    assert not any("Idempotent-Replayed" in answer.headers for answer in answers)


async def test_of_two_orders_that_race_under_one_key_one_is_placed(http: httpx2.AsyncClient) -> None:
    key, bodies = a_key(), [a_body(), a_body()]

    answers = await asyncio.gather(
        *(http.post("/orders/", json=bodies[number % 2], headers=key) for number in range(50))
    )

    assert sorted(answer.status_code for answer in answers) == [201] * 25 + [422] * 25
    placed = [answer for answer in answers if answer.status_code == 201]
    assert sum("Idempotent-Replayed" not in answer.headers for answer in placed) == 1
    assert len({answer.json()["id"] for answer in placed}) == 1
    refused = [answer for answer in answers if answer.status_code == 422]
    assert {answer.json()["code"] for answer in refused} == {"command_id_reused"}
    totals = [
        (await http.get("/orders/", params={"customer_id": str(body["customer_id"])})).json()["total"]
        for body in bodies
    ]
    assert sorted(totals) == [0, 1]


@pytest.mark.parametrize("prefer", ["", "respond-async"])
async def test_a_key_is_known_before_its_order_can_be_read(
    lonely_http: httpx2.AsyncClient, prefer: str
) -> None:
    headers = {"Idempotency-Key": str(uuid4()), "Prefer": prefer}
    first = a_body()
    accepted = await lonely_http.post("/orders/", json=first, headers=headers)

    again = await lonely_http.post("/orders/", json=first, headers=headers)
    another = await lonely_http.post("/orders/", json=a_body(), headers=headers)

    assert (accepted.status_code, again.status_code) == (202, 202)
    assert again.json()["order_id"] == accepted.json()["order_id"]
    assert (another.status_code, another.json()["code"]) == (422, "command_id_reused")
