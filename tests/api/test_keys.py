"""API keys while the API runs: their life, the outages that they outlive, and who is said to have asked."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from temporalio.api.enums.v1 import EventType

from api.keys import Scope, make_key
from database.keys import revoke_key
from tests.api.callers import Holder, a_key, with_its_own_database
from tests.api.conftest import Json, a_body, api_of, history, impatient, place
from tests.api.outages import with_a_line_to_postgresql
from tests.conftest import Systems
from tests.system import System, eventually


@pytest.fixture(scope="module")
async def keyed(systems: Systems) -> AsyncIterator[System]:
    """A system whose API has keys, with its workers running."""
    async with systems("keys") as system, system.workers():
        await a_key(system)
        yield system


@pytest.fixture
async def shop(keyed: System) -> Holder:
    return await a_key(keyed)


@pytest.fixture
async def door(keyed: System, shop: Holder) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the API with keys, which sends the shop's key unless told otherwise."""
    async with api_of(keyed) as http:
        http.headers.update(shop.headers)
        yield http


async def status_for(http: httpx2.AsyncClient, holder: Holder | None) -> int:
    """What somebody with this key, or with none, is answered."""
    return (await http.get("/orders/", headers=holder.headers if holder else {})).status_code


async def until(http: httpx2.AsyncClient, holder: Holder | None, status: int) -> None:
    async def is_so() -> bool:
        return await status_for(http, holder) == status

    await eventually(is_so)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "a\n", "naïve", "api", "signal", "promotion"])
def test_a_name_that_a_log_could_not_tell_apart_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^(a name is 1 to 64|'(api|signal|promotion)' is how histories)"):
        make_key(name, Scope)


async def test_a_new_key_starts_and_a_revoked_one_ends_while_the_api_runs(system: System) -> None:
    async with with_its_own_database(system) as fresh:
        first = await a_key(fresh)
        async with api_of(fresh) as http:
            later = await a_key(fresh)
            await until(http, later, 200)

            await revoke_key(fresh.engine, first.stored.id)
            await until(http, first, 401)

            assert await status_for(http, later) == 200


async def test_the_first_key_closes_an_open_api_and_the_end_of_the_last_does_not_open_it(
    system: System,
) -> None:
    async with with_its_own_database(system) as fresh, api_of(fresh) as http:
        assert await status_for(http, None) == 200

        holder = await a_key(fresh)
        await until(http, None, 401)
        await until(http, holder, 200)

        await revoke_key(fresh.engine, holder.stored.id)
        await until(http, holder, 401)
        assert await status_for(http, None) == 401
        async with api_of(fresh) as restarted:
            assert await status_for(restarted, None) == 401


async def until_missed(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the keys could not be read."""

    async def is_missed() -> bool:
        return any("The API keys stay as they were" in record.getMessage() for record in caplog.records)

    await eventually(is_missed)


async def test_keys_hold_while_postgresql_is_away(
    keyed: System, shop: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await a_key(keyed, Scope.READ, name="reader")
    async with with_a_line_to_postgresql(impatient(keyed)) as (broken, line), api_of(broken) as http:
        line.cut()
        await until_missed(caplog)

        placed = await http.post("/orders/", json=a_body(), headers=shop.headers)
        forbidden = await http.post("/orders/", json=a_body(), headers=reader.headers)
        stranger = await http.post("/orders/", json=a_body())

    assert [answer.status_code for answer in (placed, forbidden, stranger)] == [202, 403, 401]


async def test_a_key_that_was_revoked_during_an_outage_ends_with_it(
    keyed: System, shop: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_a_line_to_postgresql(keyed) as (broken, line), api_of(broken) as http:
        line.cut()
        await until_missed(caplog)
        await revoke_key(keyed.engine, shop.stored.id)
        line.is_cut = False

        await until(http, shop, 401)


@pytest.mark.parametrize("to_strangers", [401, 200], ids=["with a key", "without any"])
async def test_an_api_that_starts_while_postgresql_is_away_serves_nobody_until_it_is_back(
    system: System,
    to_strangers: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with with_its_own_database(system) as fresh:
        holder = await a_key(fresh) if to_strangers == 401 else None
        async with with_a_line_to_postgresql(fresh) as (broken, line):
            line.cut()
            async with api_of(broken) as http:
                await until_missed(caplog)
                assert await unavailable(http, holder)
                assert await unavailable(http, None)
                assert (await http.get("/health/live")).status_code == 200

                line.is_cut = False
                await until(http, holder, 200)
                assert await status_for(http, None) == to_strangers


async def unavailable(http: httpx2.AsyncClient, holder: Holder | None) -> bool:
    """Whether a write is refused for now, before its body is judged."""
    answer = await http.post("/orders/", content=b"{", headers=holder.headers if holder else {})
    return (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


async def test_a_database_that_fails_the_reading_of_keys_leaves_them_as_they_were(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """And the watch goes on: the table comes back, and so does its say."""
    async with with_its_own_database(system) as fresh:
        holder = await a_key(fresh)
        async with api_of(fresh) as http:
            await statement(fresh, "ALTER TABLE api_keys RENAME TO elsewhere")

            async def is_told() -> bool:
                return any("could not be read" in record.getMessage() for record in caplog.records)

            await eventually(is_told)
            assert await status_for(http, holder) == 200

            await revoke_in(fresh, "elsewhere")
            await statement(fresh, "ALTER TABLE elsewhere RENAME TO api_keys")
            await until(http, holder, 401)


async def statement(system: System, sql: str) -> None:
    async with system.engine.connect() as connection:
        await connection.exec_driver_sql(sql)


async def revoke_in(system: System, table: str) -> None:
    await statement(system, f"UPDATE {table} SET revoked_at = now()")  # noqa: S608 - a name of ours


# Who asked.


async def asked_by(http: httpx2.AsyncClient, order: Json) -> list[tuple[str, str | None]]:
    return [(step["changed_by"], step["on_behalf_of"]) for step in await history(http, order["id"])]


async def change(http: httpx2.AsyncClient, order: Json, **body: object) -> httpx2.Response:
    return await http.put(f"/orders/{order['id']}/status", json={"status": "PROCESSING", **body})


async def test_the_key_is_who_asked_and_the_body_names_for_whom(
    keyed: System, door: httpx2.AsyncClient
) -> None:
    order = await place(door)
    answer = await change(door, order, changed_by="warehouse-7")

    assert answer.status_code == 200
    assert await asked_by(door, order) == [("shop", None), ("shop", "warehouse-7")]
    state = await keyed.handle(order["id"]).query("order")
    steps = state["record"]["history"]
    assert [(step["changed_by"], step["on_behalf_of"]) for step in steps] == [
        ("shop", None),
        ("shop", "warehouse-7"),
    ]
    story = (await keyed.handle(order["id"]).query("__temporal_workflow_metadata")).current_details
    assert "| PROCESSING | shop for warehouse-7 |" in story.replace("\\", "")


async def test_who_names_nobody_asks_for_nobody(door: httpx2.AsyncClient) -> None:
    changed, cancelled = await place(door), await place(door)

    assert (await change(door, changed)).status_code == 200
    assert (await door.delete(f"/orders/{cancelled['id']}")).status_code == 200

    assert await asked_by(door, changed) == [("shop", None), ("shop", None)]
    assert await asked_by(door, cancelled) == [("shop", None), ("shop", None)]


async def test_nobody_passes_for_another_by_naming_it(door: httpx2.AsyncClient) -> None:
    order = await place(door)

    await change(door, order, changed_by="api")

    assert (await asked_by(door, order))[1] == ("shop", "api")


async def test_without_keys_whoever_the_body_names_has_asked(http: httpx2.AsyncClient) -> None:
    named, unnamed = await place(http), await place(http)

    await change(http, named, changed_by="warehouse-7")
    await change(http, unnamed)

    assert await asked_by(http, named) == [("api", None), ("warehouse-7", None)]
    assert await asked_by(http, unnamed) == [("api", None), ("api", None)]


# Idempotency keys belong to names.


async def test_the_idempotency_keys_of_two_callers_do_not_meet(
    keyed: System, door: httpx2.AsyncClient
) -> None:
    other = await a_key(keyed, name="other")
    await until(door, other, 200)
    key, body = {"Idempotency-Key": f"key-{uuid4()}"}, a_body()
    mine = await door.post("/orders/", json=body, headers=key)

    theirs = await door.post("/orders/", json=body, headers=key | other.headers)
    steps = [
        await door.put(f"/orders/{mine.json()['id']}/status", json={"status": status}, headers=key | headers)
        for status, headers in (("PROCESSING", {}), ("SHIPPED", other.headers))
    ]

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]
    assert "Idempotent-Replayed" not in theirs.headers
    assert [(step.status_code, step.json()["version"]) for step in steps] == [(200, 2), (200, 3)]


async def test_a_caller_who_changes_to_a_new_key_keeps_its_idempotency_keys(
    keyed: System, door: httpx2.AsyncClient
) -> None:
    newer = await a_key(keyed)
    await until(door, newer, 200)
    key, body = {"Idempotency-Key": f"key-{uuid4()}"}, a_body()
    first = await door.post("/orders/", json=body, headers=key)
    url = f"/orders/{first.json()['id']}"
    cancelled = await door.delete(url, headers=key)

    again = await door.post("/orders/", json=body, headers=key | newer.headers)
    cancelled_again = await door.delete(url, headers=key | newer.headers)

    for answer, replay in ((first, again), (cancelled, cancelled_again)):
        assert (replay.status_code, replay.json()) == (answer.status_code, answer.json())
        assert replay.headers["Idempotent-Replayed"] == "true"


async def test_a_change_for_somebody_else_is_another_change(door: httpx2.AsyncClient) -> None:
    order, key = await place(door), {"Idempotency-Key": f"key-{uuid4()}"}
    answers = [
        await door.put(
            f"/orders/{order['id']}/status", json={"status": "PROCESSING", "changed_by": name}, headers=key
        )
        for name in ("ann", "ann", "bob")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[2].json()["code"] == "command_id_reused"


# The request that brought a change can be followed through every log.


async def signals(system: System, order: Json) -> list[dict[str, Any]]:
    """What each signal in the order's history says."""
    events = (await system.handle(order["id"]).fetch_history()).events
    return [
        json.loads(event.workflow_execution_signaled_event_attributes.input.payloads[0].data)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]


async def test_a_request_is_followed_through_every_log_by_its_id(
    keyed: System, door: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    placing, changing = (f"request-{uuid4()}" for _ in range(2))
    order = (await door.post("/orders/", json=a_body(), headers={"X-Request-ID": placing})).json()
    await door.put(
        f"/orders/{order['id']}/status",
        json={"status": "PROCESSING", "changed_by": "warehouse-7"},
        headers={"X-Request-ID": changing},
    )

    assert [step["request_id"] for step in await history(door, order["id"])] == [placing, changing]
    (signal,) = await signals(keyed, order)
    assert (signal["request_id"], signal["changed_by"], signal["on_behalf_of"]) == (
        changing,
        "shop",
        "warehouse-7",
    )

    async def is_logged() -> bool:
        # The SDK adds to a message, unless the process is told not to (see `logs`).
        lines = {(it.getMessage().partition(" (")[0], it.__dict__.get("request_id")) for it in caplog.records}
        return {
            ("Projected version 1: PENDING", placing),
            ("PROCESSING by shop", changing),
            ("Projected version 2: PROCESSING", changing),
        } <= lines

    await eventually(is_logged)
