"""The calls against the real API, and what they do where a service answers otherwise."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from api.keys import Scope
from embedded.child import free_port
from load import calls
from load.calls import ACCEPTED, PROMOTED, READS, WRITES, CannotLoad, orders_at
from load.engine import Result, run
from tests.api.callers import a_key, set_to, with_its_own_database
from tests.load.conftest import Asked, Recorder, api_served, as_documented
from tests.system import System

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EVERYTHING = dict.fromkeys(WRITES + READS, 1)


async def made(address: str, weights: dict[str, int], number: int, **how: Any) -> Result:  # noqa: ANN401
    """The result of so many calls, one after the other."""
    async with orders_at(address, weights, **how) as orders:
        return await run(orders.choose, clients=1, calls=number)


def counts(result: Result) -> dict[str, int]:
    return {name: len(latencies) for name, latencies in result.latencies.items()}


async def total(http: httpx2.AsyncClient, **wanted: str) -> int:
    """How many such orders there are."""
    response = await http.get("/orders/", params={"limit": 1, **wanted})
    return int(response.json()["total"])


@pytest.fixture
async def cut_off(system: System) -> AsyncIterator[System]:
    """A system whose database has nothing in it, and stays so: its workers write to another."""
    async with with_its_own_database(set_to(system, answer_deadline=0.3)) as alone:
        yield alone


async def test_every_kind_of_call_is_answered_as_expected_by_many_clients(
    address: str, http: httpx2.AsyncClient
) -> None:
    await made(address, {"create": 1}, 1)  # so that there is one to read
    before = await total(http), await total(http, status="DELIVERED")
    async with orders_at(address, EVERYTHING, seed=1) as orders:
        result = await run(orders.choose, clients=4, calls=60)

    assert not result.errors
    assert not result.notes
    assert counts(result).keys() == EVERYTHING.keys()
    after = await total(http), await total(http, status="DELIVERED")
    assert after[0] - before[0] == counts(result)["create"] + counts(result)["lifecycle"]
    assert after[1] - before[1] >= counts(result)["lifecycle"]


async def test_a_change_is_the_next_step_of_an_order_and_without_one_an_order_is_placed(
    address: str, http: httpx2.AsyncClient
) -> None:
    before = await total(http, status="DELIVERED")

    result = await made(address, {"change": 1}, 8)

    assert counts(result) == {"create": 2, "change": 6}
    assert not result.errors
    assert await total(http, status="DELIVERED") - before == 2


async def test_a_cancellation_is_of_a_pending_order_of_its_own(
    address: str, http: httpx2.AsyncClient
) -> None:
    before = await total(http, status="CANCELLED")

    result = await made(address, {"cancel": 1}, 6)

    assert counts(result) == {"create": 3, "cancel": 3}
    assert not result.errors
    assert await total(http, status="CANCELLED") - before == 3


async def test_orders_are_changed_and_cancelled_side_by_side(address: str) -> None:
    result = await made(address, {"change": 2, "cancel": 1}, 30)

    assert not result.errors
    assert counts(result).keys() == {"create", "change", "cancel"}


async def test_a_lifecycle_is_one_call_that_ends_delivered(address: str, http: httpx2.AsyncClient) -> None:
    before = await total(http, status="DELIVERED")

    result = await made(address, {"lifecycle": 1}, 2)

    assert counts(result) == {"lifecycle": 2}
    assert not result.errors
    assert await total(http, status="DELIVERED") - before == 2


async def test_reading_changes_nothing(address: str, http: httpx2.AsyncClient) -> None:
    await made(address, {"create": 1}, 1)
    before = await total(http)

    result = await made(address, dict.fromkeys(READS, 1), 15)

    assert sum(counts(result).values()) == 15
    assert not result.errors
    assert await total(http) == before


async def newest(http: httpx2.AsyncClient) -> str:
    order_id: str = (await http.get("/orders/", params={"limit": 1})).json()["orders"][0]["id"]
    return order_id


async def moved(http: httpx2.AsyncClient, order_id: str, *statuses: str) -> None:
    """Somebody else moves an order."""
    for status in statuses:
        response = await http.put(f"/orders/{order_id}/status", json={"status": status})
        assert response.status_code == 200


@pytest.mark.parametrize("name", ["change", "cancel"])
async def test_an_order_that_the_promotion_moved_first_is_no_error(
    address: str, http: httpx2.AsyncClient, name: str
) -> None:
    async with orders_at(address, {name: 1}) as orders:
        await run(orders.choose, clients=1, calls=1)
        await moved(http, await newest(http), "PROCESSING")

        result = await run(orders.choose, clients=1, calls=1)

    assert result.notes == {(name, PROMOTED): 1}
    assert not result.errors


async def test_an_order_that_the_promotion_moved_first_goes_on_from_there(
    address: str, http: httpx2.AsyncClient
) -> None:
    async with orders_at(address, {"change": 1}) as orders:
        await run(orders.choose, clients=1, calls=1)
        order_id = await newest(http)
        await moved(http, order_id, "PROCESSING")

        result = await run(orders.choose, clients=1, calls=3)

    assert counts(result) == {"change": 3}
    assert not result.errors
    assert (await http.get(f"/orders/{order_id}")).json()["status"] == "DELIVERED"


async def test_any_other_refusal_is_an_error_with_the_reason(address: str, http: httpx2.AsyncClient) -> None:
    async with orders_at(address, {"change": 1}) as orders:
        await run(orders.choose, clients=1, calls=1)
        await moved(http, await newest(http), "PROCESSING", "SHIPPED")

        result = await run(orders.choose, clients=1, calls=1)

    assert result.errors == {("change", "409"): 1}
    assert result.messages == {"409": "409 Invalid status transition from SHIPPED to PROCESSING"}


async def test_what_is_accepted_and_not_decided_is_counted_apart(cut_off: System) -> None:
    async with api_served(cut_off) as address:
        result = await made(address, {"create": 1, "lifecycle": 1}, 4, seed=2)

    assert result.notes == {("create", ACCEPTED): 2, ("lifecycle", ACCEPTED): 2}
    assert not result.errors


async def test_nothing_more_is_asked_of_an_order_whose_change_is_not_decided() -> None:
    def answer(asked: Asked) -> tuple[int, Any]:
        return (202, {}) if asked.method == "PUT" and asked.body != b"{}" else as_documented(asked)

    recorder = Recorder(answer)
    async with recorder.served() as address:
        result = await made(address, {"change": 1, "lifecycle": 1}, 20)
    moved = [asked.target for asked in recorder.asked if asked.method == "PUT"]

    assert len(moved) == len(set(moved))
    assert {(name, ACCEPTED) for name in ("change", "lifecycle")} == result.notes.keys()
    assert result.notes["lifecycle", ACCEPTED] == counts(result)["lifecycle"]
    assert not result.errors


async def test_a_get_is_of_an_order_and_a_history_of_its_changes() -> None:
    recorder = Recorder()
    async with recorder.served() as address:
        await made(address, {"get": 1, "history": 1}, 20)
    targets = {_UUID.sub("…", asked.target) for asked in recorder.asked}

    assert targets == {"/orders/?limit=50", "/orders/?limit=1000", "/orders/…", "/orders/…/history"}


async def test_a_limit_that_is_reached_is_told_in_the_services_words(system: System) -> None:
    async with api_served(set_to(system, rate_limit=20)) as address:
        result = await made(address, {"list": 1}, 60)

    assert result.errors["list", "429"] >= 20
    assert result.messages == {"429": "429 Too many requests"}


async def cannot(address: str, weights: dict[str, int], key: str | None = None) -> str:
    """Why there can be no load."""
    with pytest.raises(CannotLoad) as refused:
        await made(address, weights, 1, key=key)
    (line,) = str(refused.value).splitlines()
    return line


async def test_a_key_that_may_not_make_the_calls_is_refused_before_any_of_them(cut_off: System) -> None:
    everything = await a_key(cut_off)
    reader = await a_key(cut_off, Scope.READ)
    writer = await a_key(cut_off, Scope.READ, Scope.WRITE)
    async with api_served(cut_off) as address:
        assert "refuses the API key, or asks for one: 401 " in await cannot(address, {"list": 1})
        wrong = everything.text[:-1] + ("A" if everything.text[-1] != "A" else "B")
        assert "401 " in await cannot(address, {"list": 1}, wrong)
        assert "403 The API key lacks the scope orders:write" in await cannot(
            address, {"create": 1}, reader.text
        )
        assert "403 The API key lacks the scope orders:operate" in await cannot(
            address, {"change": 1}, writer.text
        )
        read = await made(address, {"list": 1}, 2, key=reader.text)
        placed = await made(address, {"cancel": 1}, 1, key=writer.text)

    assert counts(read) == {"list": 2}
    assert placed.notes == {("create", ACCEPTED): 1}


async def test_where_there_is_no_order_to_read_one_line_says_what_to_do(cut_off: System) -> None:
    async with api_served(cut_off) as address:
        assert await cannot(address, {"get": 1}) == await cannot(address, {"history": 1, "create": 1})
        assert "no order to read yet: let the mix create some" in await cannot(address, {"get": 1})
        assert counts(await made(address, {"list": 1}, 2)) == {"list": 2}


async def test_a_service_without_orders_gets_one_to_read_if_the_mix_may_write() -> None:
    recorder = Recorder(lambda asked: (200, {"orders": []}) if "?" in asked.target else as_documented(asked))
    async with recorder.served() as address:
        result = await made(address, {"get": 1, "create": 1}, 20)

    assert not result.errors
    placed = [asked for asked in recorder.asked if asked.method == "POST" and asked.body != b"{}"]
    assert len(placed) == counts(result)["create"] + 1


def told(recorder: Recorder) -> list[tuple[str, str, bytes]]:
    """What the service was asked, without the ids that it made up."""
    return [(asked.method, _UUID.sub("…", asked.target), asked.body) for asked in recorder.asked]


async def test_the_seed_fixes_the_calls_and_the_orders() -> None:
    mix = {"create": 3, "get": 2, "list": 1, "lifecycle": 1}

    async def asked(seed: int) -> tuple[list[tuple[str, str, bytes]], set[str]]:
        recorder = Recorder()
        async with recorder.served() as address:
            await made(address, mix, 30, seed=seed)
        keys = [asked.headers["idempotency-key"] for asked in recorder.asked if asked.method != "GET"]
        assert len(keys) == len(set(keys))
        return told(recorder), set(keys)

    first, its_keys = await asked(1)
    second, other_keys = await asked(1)

    assert first == second
    assert first != (await asked(2))[0]
    # Else the second run would be answered with the orders of the first.
    assert not its_keys & other_keys


async def test_the_kinds_of_calls_do_not_depend_on_how_many_clients_there_are() -> None:
    async def kinds(clients: int) -> dict[str, int]:
        async with (
            Recorder().served() as address,
            orders_at(address, {"create": 2, "list": 1}, seed=5) as orders,
        ):
            return counts(await run(orders.choose, clients=clients, calls=50))

    assert await kinds(1) == await kinds(7)


async def test_a_list_is_the_first_page_that_a_cursor_leads_to() -> None:
    page = {"orders": [{"id": "1"}], "next_cursor": "the+re"}
    recorder = Recorder(lambda _: (200, page))
    async with recorder.served() as address:
        await made(address, {"list": 1}, 2)

    assert [asked.target for asked in recorder.asked] == [
        "/orders/?limit=50",
        *["/orders/?limit=50&cursor=the%2Bre"] * 2,
    ]


async def test_an_order_is_moved_by_one_call_at_a_time() -> None:
    recorder = Recorder()
    async with recorder.served() as address, orders_at(address, {"create": 1, "change": 3}) as orders:
        result = await run(orders.choose, clients=20, calls=200)
    steps = [(asked.target, asked.body) for asked in recorder.asked if asked.method == "PUT"]

    assert not result.errors
    assert len(steps) == len(set(steps)) == 1 + counts(result)["change"]


async def test_a_connection_that_fails_is_an_error_with_its_reason() -> None:
    async with AsyncExitStack() as serving:
        address = await serving.enter_async_context(Recorder().served())
        async with orders_at(address, {"list": 1}) as orders:
            await serving.aclose()
            result = await run(orders.choose, clients=1, calls=3)

    assert result.errors == {("list", "connection"): 3}
    assert "Connect call failed" in result.messages["connection"]


async def test_no_answer_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_PATIENCE_SECONDS", 2)
    recorder = Recorder()
    async with recorder.served() as address, orders_at(address, {"list": 1}) as orders:
        recorder.answers.clear()
        result = await run(orders.choose, clients=1, calls=1)
        recorder.answers.set()

    assert result.errors == {("list", "time-out"): 1}
    assert result.messages == {"time-out": "no answer within 2 s"}


async def test_a_placing_that_says_no_id_is_an_error() -> None:
    def answer(asked: Asked) -> tuple[int, Any]:
        return (201, []) if asked.method == "POST" else as_documented(asked)

    async with Recorder(answer).served() as address:
        result = await made(address, {"create": 1}, 1)

    assert result.errors == {("create", "no id"): 1}


async def test_what_a_service_says_cannot_touch_the_terminal() -> None:
    def answer(asked: Asked) -> tuple[int, Any]:
        return (500, "\x1b[2J" + "x" * 10_000) if asked.method == "POST" else as_documented(asked)

    async with Recorder(answer).served() as address:
        result = await made(address, {"create": 1}, 1)

    assert result.messages["500"].startswith("500  [2Jxxx")
    assert len(result.messages["500"]) < 300


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (502, "<h1>Bad Gateway</h1>"),
        (200, "[]"),
        (200, {}),
        (200, {"orders": 1}),
        (307, ""),
        (404, {"detail": "No"}),
    ],
)
async def test_somebody_else_at_the_address_is_told_in_one_line(status: int, content: object) -> None:
    async with Recorder(lambda _: (status, content)).served() as address:
        line = await cannot(address, {"create": 1})

    assert line.startswith(f"{address} is no API of orders, or not ready: GET /orders/ answered {status}")


async def test_nobody_at_the_address_is_told_in_one_line() -> None:
    address = f"http://127.0.0.1:{free_port()}"

    assert (await cannot(address, {"create": 1})).startswith(f"No answer from {address}: ")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:port",
        "http://:80",
        f"http://{'a' * 64}",
        "orders",
    ],
)
async def test_what_is_no_address_is_told_in_one_line(address: str) -> None:
    assert await cannot(address, {"create": 1}) == f"{address} is no address such as https://orders.example"


@pytest.mark.parametrize("host", ["no host", "nobody.invalid", "xn--a"])
async def test_a_host_that_nobody_is_called_is_told_in_one_line(host: str) -> None:
    assert (await cannot(f"http://{host}/", {"create": 1})).startswith(f"No answer from http://{host}: ")


async def test_a_key_that_cannot_be_sent_is_refused_unsaid() -> None:
    assert (
        await cannot("http://127.0.0.1:1", {"list": 1}, "a\nkey")
        == "The API key has characters that no key has"
    )
