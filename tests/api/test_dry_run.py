"""A dry run answers what would happen, and nothing happens: not in Temporal, and not in PostgreSQL."""

from uuid import UUID, uuid4

import httpx2
import pytest

from database.queries import get_record
from orders.names import idempotent_order_id
from tests.api.conftest import Json, a_body, an_item, api_of, history, impatient, move, place, read
from tests.api.outages import with_a_line_to_postgresql, without_temporal
from tests.system import System, eventually

DRY = {"dry_run": "true"}


def a_key() -> dict[str, str]:
    return {"Idempotency-Key": f"key-{uuid4()}"}


async def exists(system: System, order_id: str) -> bool:
    """Whether Temporal or PostgreSQL knows the order."""
    if await get_record(system.engine, UUID(order_id)):
        return True
    return await system.has_workflow(order_id)


async def traces(system: System, order: Json) -> tuple[int, object]:
    """All that a command would leave: events in Temporal, rows in PostgreSQL."""
    events = (await system.handle(order["id"]).fetch_history()).events
    return len(events), await get_record(system.engine, UUID(order["id"]))


async def settled(system: System, order: Json) -> tuple[int, object]:
    """The same, once Temporal has written what is still under way."""
    found = await traces(system, order)

    async def is_settled() -> bool:
        nonlocal found
        description = await system.handle(order["id"]).describe()
        before, found = found, await traces(system, order)
        return before == found and not description.raw_description.HasField("pending_workflow_task")

    await eventually(is_settled)
    return found


def told(answer: httpx2.Response) -> Json:
    """An answer without what differs between two requests."""
    body: Json = answer.json()
    body.pop("request_id", None)
    return {"status": answer.status_code, "body": body}


# POST


async def test_a_dry_run_shows_the_order_that_would_be_placed_and_places_none(
    system: System, http: httpx2.AsyncClient
) -> None:
    body = a_body()

    shown = await http.post("/orders/", params=DRY, json=body)

    order = shown.json()
    assert shown.status_code == 200
    assert (order["status"], order["version"], order["total_amount"]) == ("PENDING", 1, "1050.99")
    assert order["customer_id"] == body["customer_id"]
    assert not {"Location", "ETag", "Idempotent-Replayed"} & set(shown.headers)
    assert not await exists(system, order["id"])


async def test_a_dry_run_uses_up_no_idempotency_key(system: System, http: httpx2.AsyncClient) -> None:
    key, body = a_key(), a_body()

    shown = await http.post("/orders/", params=DRY, json=body, headers=key)
    was_there = await exists(system, str(idempotent_order_id("api", key["Idempotency-Key"])))
    placed = await http.post("/orders/", json=body, headers=key)

    assert (shown.status_code, was_there, placed.status_code) == (200, False, 201)
    assert "Idempotent-Replayed" not in placed.headers
    assert shown.json()["id"] == placed.json()["id"]


async def test_a_dry_run_of_what_was_placed_shows_what_a_retry_would(
    system: System, http: httpx2.AsyncClient
) -> None:
    key, body = a_key(), a_body()
    placed = (await http.post("/orders/", json=body, headers=key)).json()
    await move(http, placed, "PROCESSING")
    before = await settled(system, placed)

    shown = await http.post("/orders/", params=DRY, json=body, headers=key)
    refused = await http.post("/orders/", params=DRY, json=a_body(), headers=key)

    assert (shown.status_code, shown.json()) == (200, placed)
    assert (refused.status_code, refused.json()["code"]) == (422, "command_id_reused")
    assert await traces(system, placed) == before


async def test_a_dry_run_knows_what_was_placed_and_cannot_be_read_yet(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    key, body = a_key(), a_body()
    accepted = await lonely_http.post("/orders/", json=body, headers=key)

    shown = await lonely_http.post("/orders/", params=DRY, json=body, headers=key)
    refused = await lonely_http.post("/orders/", params=DRY, json=a_body(), headers=key)
    real = await lonely_http.post("/orders/", json=a_body(), headers=key)

    assert (accepted.status_code, shown.status_code) == (202, 200)
    assert told(refused) == told(real)
    assert (real.status_code, real.json()["code"]) == (422, "command_id_reused")
    async with lonely.workers():

        async def is_as_shown() -> bool:
            return bool((await lonely_http.get(f"/orders/{shown.json()['id']}")).json() == shown.json())

        await eventually(is_as_shown)


async def test_without_temporal_a_dry_run_promises_no_order(system: System) -> None:
    async with without_temporal(impatient(system)) as broken, api_of(broken) as cut:
        shown = await cut.post("/orders/", params=DRY, json=a_body())
        real = await cut.post("/orders/", json=a_body())

    assert (shown.status_code, shown.json()["code"]) == (503, "temporal_unavailable")
    assert told(shown) == told(real)


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": ""},
        {"items": []},
        {"items": [an_item(quantity=0)]},
        {"items": [an_item(unit_price="0.001")]},
        {"items": [an_item(quantity=100_000, unit_price="99999999.99")] * 100},
        {"currency": "XXZ"},
        {"pigs": 1},
    ],
    ids=str,
)
async def test_a_dry_run_refuses_the_orders_that_are_refused(
    http: httpx2.AsyncClient, changes: dict[str, object]
) -> None:
    body = a_body(**changes)

    shown = await http.post("/orders/", params=DRY, json=body)
    real = await http.post("/orders/", json=body)

    assert real.status_code in {400, 422}
    assert told(shown) == told(real)


async def test_a_dry_run_that_says_false_is_none(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/orders/?dry_run=false", json=a_body())).status_code == 201


async def test_a_dry_run_is_answered_at_once_whatever_is_preferred(
    system: System, http: httpx2.AsyncClient
) -> None:
    shown = await http.post("/orders/", params=DRY, json=a_body(), headers={"Prefer": "respond-async"})

    assert shown.status_code == 200
    assert not await exists(system, shown.json()["id"])


# PUT and DELETE


async def ask(
    http: httpx2.AsyncClient, order_id: str, status: str, headers: dict[str, str], **params: str
) -> httpx2.Response:
    """Change the order's status, by the call that is made for it."""
    if status == "CANCELLED":
        return await http.delete(f"/orders/{order_id}", params=params, headers=headers)
    return await http.put(
        f"/orders/{order_id}/status", params=params, json={"status": status}, headers=headers
    )


@pytest.mark.parametrize("status", ["PROCESSING", "CANCELLED"])
@pytest.mark.parametrize(
    "headers", [{}, {"Idempotency-Key": "k"}, {"If-Match": '"1"'}, {"Prefer": "respond-async"}], ids=str
)
async def test_a_dry_run_shows_what_a_change_would_make_of_the_order_and_changes_nothing(
    system: System, http: httpx2.AsyncClient, status: str, headers: dict[str, str]
) -> None:
    order = await place(http)
    before = await settled(system, order)

    shown = await ask(http, order["id"], status, headers, **DRY)

    assert shown.status_code == 200
    assert (shown.json()["status"], shown.json()["version"]) == (status, 2)
    assert not {"ETag", "Location", "Idempotent-Replayed"} & set(shown.headers)
    assert await read(http, order) == order
    assert await traces(system, order) == before
    real = await ask(http, order["id"], status, headers)
    assert real.status_code == 202 if "Prefer" in headers else 200
    assert "Idempotent-Replayed" not in real.headers


REFUSALS: dict[str, tuple[tuple[str, ...], str, dict[str, str], int]] = {
    "a move that there is not": ((), "DELIVERED", {}, 409),
    "a second promotion": (("PROCESSING",), "PROCESSING", {}, 409),
    "a cancellation that is too late": (("PROCESSING",), "CANCELLED", {}, 409),
    "a change of what is over": (("CANCELLED",), "PROCESSING", {}, 409),
    "a cancellation of what is over": (("CANCELLED",), "CANCELLED", {}, 409),
    "another version": (("PROCESSING",), "SHIPPED", {"If-Match": '"1"'}, 412),
    "another version of what may not move": ((), "CANCELLED", {"If-Match": '"7"'}, 412),
    "a foreign tag": ((), "PROCESSING", {"If-Match": '"abc"'}, 412),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_dry_run_refuses_the_changes_that_are_refused(
    system: System, http: httpx2.AsyncClient, refusal: tuple[tuple[str, ...], str, dict[str, str], int]
) -> None:
    moves, status, headers, code = refusal
    order = await move(http, await place(http), *moves)
    before = await settled(system, order)

    shown = await ask(http, order["id"], status, headers, **DRY)
    after = await traces(system, order)
    real = await ask(http, order["id"], status, headers)

    assert shown.status_code == code
    assert told(shown) == told(real)
    assert shown.headers.get("ETag") == real.headers.get("ETag")
    assert before == after


@pytest.mark.parametrize("status", ["PROCESSING", "CANCELLED"])
async def test_a_dry_run_on_an_unknown_order_finds_none(http: httpx2.AsyncClient, status: str) -> None:
    unknown = str(uuid4())

    shown = await ask(http, unknown, status, {}, **DRY)
    real = await ask(http, unknown, status, {})

    assert shown.status_code == 404
    assert told(shown) == told(real)


@pytest.mark.parametrize("over", [False, True], ids=["under way", "over"])
async def test_a_dry_run_of_what_was_carried_out_shows_what_a_retry_would(
    system: System,
    http: httpx2.AsyncClient,
    over: bool,  # noqa: FBT001
) -> None:
    order, key = await place(http), a_key()
    first = await ask(http, order["id"], "PROCESSING", key)
    if over:
        await move(http, order, "SHIPPED", "DELIVERED")
        await system.handle(order["id"]).result()
    steps = await history(http, order["id"])

    shown = await ask(http, order["id"], "PROCESSING", key, **DRY)
    reused = await ask(http, order["id"], "SHIPPED", key, **DRY)

    assert (shown.status_code, shown.json()) == (200, first.json())
    assert (reused.status_code, reused.json()["code"]) == (422, "command_id_reused")
    assert await history(http, order["id"]) == steps


async def test_a_dry_run_on_an_order_that_lost_its_workflow_is_refused_as_the_change_is(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)
    await system.handle(order["id"]).terminate()

    shown = await ask(http, order["id"], "PROCESSING", {}, **DRY)
    real = await ask(http, order["id"], "PROCESSING", {})

    assert (real.status_code, real.json()["code"]) == (503, "workflow_missing")
    assert told(shown) == told(real)


@pytest.mark.parametrize("status", ["PROCESSING", "CANCELLED"])
async def test_without_temporal_a_dry_run_promises_no_more_than_the_change_would(
    system: System, http: httpx2.AsyncClient, status: str
) -> None:
    order = await place(http)

    async with without_temporal(impatient(system)) as broken, api_of(broken) as cut:
        shown = await ask(cut, order["id"], status, {}, **DRY)
        real = await ask(cut, order["id"], status, {})

    assert (shown.status_code, shown.json()["code"]) == (503, "temporal_unavailable")
    assert told(shown) == told(real)


async def test_without_postgresql_the_workflow_says_what_a_change_would_do(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)

    async with with_a_line_to_postgresql(system) as (broken, line), api_of(broken) as cut:
        line.cut()
        shown = await ask(cut, order["id"], "CANCELLED", {}, **DRY)
        placed = await cut.post("/orders/", params=DRY, json=a_body())

    assert (shown.status_code, shown.json()["status"]) == (200, "CANCELLED")
    assert placed.status_code == 200
    assert await read(http, order) == order


@pytest.mark.parametrize("status", ["PROCESSING", "CANCELLED"])
async def test_where_nobody_can_say_what_a_change_would_do_a_dry_run_asks_to_come_back(
    lonely_http: httpx2.AsyncClient, status: str
) -> None:
    placed = await lonely_http.post("/orders/", json=a_body())
    assert placed.status_code == 202

    shown = await ask(lonely_http, placed.json()["order_id"], status, {}, **DRY)

    assert (shown.status_code, shown.json()["code"]) == (503, "not_yet_readable")
    assert shown.headers["Retry-After"] == "1"
