"""How much is enough: of requests, of commands to one order, of work in hand, of a body."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx2
import pytest
from pydantic import ValidationError
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError

from api import limits
from api.app import create_app
from api.bodies import MAX_BODY_BYTES
from api.limits import (
    COMMANDS_OF_A_CALLER,
    COMMANDS_PER_ORDER,
    LARGE_BODIES_BYTES,
    SMALL_BODY_BYTES,
    CommandLimit,
    RequestLimit,
    TooMany,
    address_group,
)
from embedded.child import Program, free_port, running
from orders.limits import MAX_ITEMS, MAX_QUANTITY
from orders.names import idempotent_order_id
from orders.text import MAX_IDENTIFIER_BYTES, MAX_IDENTIFIER_LENGTH
from tests.api.callers import a_key, set_to, with_its_own_database
from tests.api.conftest import Json, a_body, an_item, api_of, place
from tests.conftest import settings_for
from tests.processes import servers_of, started
from tests.system import System, eventually

AS_JSON = {"Content-Type": "application/json"}
AT_ONCE = {"Prefer": "respond-async"}
# More than the limits of these tests, so that one of them is refused even where a minute ends meanwhile.
MANY = 10

At = Callable[..., httpx2.AsyncClient]


@asynccontextmanager
async def seen_from(system: System) -> AsyncIterator[At]:
    """One API, and clients of it at any address."""
    settings = set_to(system, api_allow_anonymous=True).settings
    app = create_app(settings, system.client, system.engine)

    def at(address: str = "127.0.0.1", **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    async with app.router.lifespan_context(app):
        yield at


async def refused(http: httpx2.AsyncClient, path: str = "/orders/") -> httpx2.Response:
    """The first answer that says that it is enough."""
    for _ in range(MANY):
        response = await http.get(path)
        if response.status_code == 429:
            return response
    raise AssertionError("never refused")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the limits, which moves when a test says so."""
    clock = SimpleNamespace(now=1_000.0, time=time.time)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(limits, "time", clock)
    return clock


# Requests of one caller.


async def test_who_asks_too_often_is_told_when_to_come_again(system: System) -> None:
    async with seen_from(set_to(system, rate_limit=3)) as at:
        response = await refused(at())

    assert (response.json()["code"], response.json()["detail"]) == ("too_many_requests", "Too many requests")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.headers["RateLimit-Policy"] == '"caller";q=3;w=60'
    assert response.headers["RateLimit"] == f'"caller";r=0;t={response.headers["Retry-After"]}'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/orders/", 200), ("GET", "/orders/1", 422), ("GET", f"/orders/{UUID(int=0)}", 404)],
)
async def test_every_answer_tells_what_is_left(system: System, method: str, path: str, status: int) -> None:
    async with api_of(system) as http:
        response = await http.request(method, path)

    assert response.status_code == status
    assert response.headers["RateLimit-Policy"] == '"caller";q=60000;w=60'
    assert response.headers["RateLimit"].startswith('"caller";r=59999;t=')


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/docs", "/openapi.json"])
async def test_health_and_documentation_are_not_counted(system: System, path: str) -> None:
    async with seen_from(set_to(system, rate_limit=1)) as at:
        await refused(at())
        answers = [await at().get(path) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert not [answer for answer in answers if "RateLimit" in answer.headers]


async def test_without_keys_each_address_has_a_count_of_its_own(system: System) -> None:
    async with seen_from(set_to(system, rate_limit=2)) as at:
        await refused(at("203.0.113.1"))

        assert (await at("203.0.113.2").get("/orders/")).status_code == 200


async def test_the_addresses_of_an_ipv6_household_are_counted_together(system: System) -> None:
    async with seen_from(set_to(system, rate_limit=2)) as at:
        for number in range(MANY):
            last = await at(f"2001:db8:0:1::{number + 1:x}").get("/orders/")
        neighbour = await at("2001:db8:0:2::1").get("/orders/")

    assert (last.status_code, neighbour.status_code) == (429, 200)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_is_counted_as_whom_it_belongs_to(host: str, group: str) -> None:
    assert address_group(host) == group


async def test_each_key_has_a_count_of_its_own_wherever_it_is_used(system: System) -> None:
    async with with_its_own_database(system) as guarded:
        first, second = await a_key(guarded, name="shop"), await a_key(guarded, name="shop")
        async with seen_from(set_to(guarded, rate_limit=2)) as at:
            await refused(at("203.0.113.1", **first.headers))

            elsewhere = await at("203.0.113.2", **first.headers).get("/orders/")
            other = await at("203.0.113.1", **second.headers).get("/orders/")

    assert (elsewhere.status_code, other.status_code) == (429, 200)


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer orders_{'0' * 16}_{'A' * 43}"}])
async def test_guessing_keys_is_counted_by_address(system: System, headers: dict[str, str]) -> None:
    async with with_its_own_database(system) as guarded:
        key = await a_key(guarded)
        async with seen_from(set_to(guarded, rate_limit=2)) as at:
            first = await at("203.0.113.1", **headers).get("/orders/")
            await refused(at("203.0.113.1", **headers))
            holder = await at("203.0.113.1", **key.headers).get("/orders/")

    assert (first.status_code, holder.status_code) == (401, 200)
    assert "RateLimit" in first.headers


async def test_callers_that_are_gone_are_forgotten_and_nobodys_request_looks_for_them() -> None:
    memory = limits.CallersInMemory()
    await memory.incr("gone", expiry=0.01)
    sweep = memory.timer
    for caller in range(100):
        await memory.incr(f"there-{caller}", expiry=60)

    async def is_forgotten() -> bool:
        return "gone" not in memory.storage

    await eventually(is_forgotten)
    assert memory.timer is sweep
    assert await memory.incr("there-7", expiry=60) == 2
    memory.close()


async def test_forgetting_begins_anew_where_it_has_ended() -> None:
    memory = limits.CallersInMemory()
    await memory.incr("there", expiry=60)
    memory.expirations["broken"] = None  # type: ignore[assignment]
    sweep = memory.timer
    assert sweep is not None
    with pytest.raises(TypeError):
        await sweep

    del memory.expirations["broken"]
    await memory.incr("gone", expiry=0.01)

    async def is_forgotten() -> bool:
        return "gone" not in memory.storage

    await eventually(is_forgotten)
    memory.close()


# Counted in Redis.

# A Redis is a system's package, which no requirements file of ours can install; .ci/run installs one.
REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    REDIS is None, reason="no Redis: install one (Debian and Ubuntu: apt install redis-server)"
)


@asynccontextmanager
async def redis_on(port: int, folder: Path) -> AsyncIterator[str]:
    """A Redis that keeps nothing, until the block ends; its URL."""

    async def answers() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    program = Program(
        name="redis",
        command=(str(REDIS), *options),
        environment={},
        folder=folder,
        answers=answers,
    )
    async with running(program):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    async with redis_on(free_port(), tmp_path) as url:
        yield url


def counting_in(url: str) -> "aclosing[RequestLimit]":
    return aclosing(RequestLimit(settings_for("postgresql://db/orders", rate_limit_redis_url=url)))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "api.limits"]


@pytest.mark.parametrize(
    "url",
    [
        *("redis://", "redis://:6379/0", "redis://host:port/0", "redis://host:99999/0", "redis://host:0/0"),
        *("http://host:6379", "host:6379", "redis://host/0?colour=red", "redis://host/0?ssl_cert_reqs=none"),
    ],
)
def test_an_address_where_no_redis_can_be_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a Redis URL|nobody understands"):
        settings_for("postgresql://db/orders", rate_limit_redis_url=url)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://:secret@[::1]:6379/2", "rediss://host:6380/0?ssl_ca_certs=ca.pem"]
)
def test_an_address_where_a_redis_may_be_is_taken(url: str) -> None:
    assert settings_for("postgresql://db/orders", rate_limit_redis_url=url).rate_limit_redis_url == url


@needs_redis
async def test_several_apis_count_together_in_redis(system: System, redis_url: str) -> None:
    limited = set_to(system, rate_limit=4, rate_limit_redis_url=redis_url)
    async with seen_from(limited) as at_one, seen_from(limited) as at_another:
        await refused(at_one())

        assert (await at_another().get("/orders/")).status_code == 429


@needs_redis
async def test_a_burst_is_no_outage(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with counting_in(redis_url) as limit:
        await asyncio.gather(*[limit.count("ann") for _ in range(1_000)])

    assert warnings_of(caplog) == []


@needs_redis
async def test_without_redis_requests_are_served_and_counted_here_until_it_is_back(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: SimpleNamespace
) -> None:
    port = free_port()
    limited = set_to(system, rate_limit=4, rate_limit_redis_url=f"redis://127.0.0.1:{port}/0")
    async with seen_from(limited) as at:
        async with redis_on(port, tmp_path):
            await refused(at())
        assert warnings_of(caplog) == []

        answers = [await at().get("/orders/") for _ in range(MANY)]
        assert answers[0].status_code == 200
        assert answers[-1].status_code == 429
        clock.now += 60
        assert (await at("203.0.113.1").get("/orders/")).status_code == 200
        (warning,) = warnings_of(caplog)
        assert warning.startswith("Redis does not count, so this process does: ")

        async with redis_on(port, tmp_path):
            clock.now += 60
            assert (await at().get("/orders/")).status_code == 200
            assert warnings_of(caplog)[1:] == ["Redis counts again"]


async def test_a_redis_that_says_nothing_is_waited_for_once(
    caplog: pytest.LogCaptureFixture, clock: SimpleNamespace
) -> None:
    asked = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        async with counting_in(url) as limit:
            for _ in range(3):
                async with asyncio.timeout(10):
                    assert (await limit.count("ann"))[0]
            assert asked == 1
            assert warnings_of(caplog) == [
                "Redis does not count, so this process does: it did not answer within 0.25 s"
            ]

            # Later, one request finds out that nothing has changed, and those beside it wait for nothing.
            clock.now += 60
            assert all(within for within, _ in await asyncio.gather(*[limit.count("ann") for _ in range(20)]))
            assert asked == 2
            assert len(warnings_of(caplog)) == 1


# Commands to one order.


@pytest.mark.usefixtures("clock")  # in which no minute ends
async def test_an_order_that_is_flooded_takes_what_it_can_and_others_notice_nothing(lonely: System) -> None:
    async with api_of(lonely) as http:
        placed = [await http.post("/orders/", json=a_body(), headers=AT_ONCE) for _ in range(2)]
        flooded, other = (answer.json()["order_id"] for answer in placed)
        body = {"status": "PROCESSING"}
        answers = [
            await http.put(f"/orders/{flooded}/status", json=body, headers=AT_ONCE)
            for _ in range(COMMANDS_OF_A_CALLER + 5)
        ]
        cancelled = await http.delete(f"/orders/{flooded}", headers=AT_ONCE)
        spared = await http.put(f"/orders/{other}/status", json=body, headers=AT_ONCE)

    assert [answer.status_code for answer in answers] == [202] * COMMANDS_OF_A_CALLER + [429] * 5
    assert answers[-1].json()["detail"] == f"Order {flooded} was sent 60 commands within a minute"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].headers["RateLimit-Policy"] == '"order-by-caller";q=60;w=60'
    assert answers[-1].headers["RateLimit"] == f'"order-by-caller";r=0;t={answers[-1].headers["Retry-After"]}'
    assert (cancelled.status_code, spared.status_code) == (429, 202)
    events = (await lonely.handle(flooded).fetch_history()).events
    signals = [
        event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    assert len(signals) == COMMANDS_OF_A_CALLER


@pytest.mark.usefixtures("clock")
async def test_one_who_floods_an_order_keeps_nobody_else_from_it(lonely: System) -> None:
    async with seen_from(lonely) as at:
        placed = await at().post("/orders/", json=a_body(), headers=AT_ONCE)
        path, body = f"/orders/{placed.json()['order_id']}/status", {"status": "PROCESSING"}
        flood = [
            await at("203.0.113.1").put(path, json=body, headers=AT_ONCE)
            for _ in range(COMMANDS_OF_A_CALLER + 1)
        ]
        other = await at("203.0.113.2").put(path, json=body, headers=AT_ONCE)

    assert (flood[-1].status_code, other.status_code) == (429, 202)


def sent_to(order_id: UUID, commands: CommandLimit) -> TooMany:
    """The refusal, once the caller has sent the order what it may."""
    for _ in range(COMMANDS_OF_A_CALLER):
        commands.count(order_id)
    with pytest.raises(TooMany) as refusal:
        commands.count(order_id)
    return refusal.value


@pytest.mark.usefixtures("clock")
def test_all_callers_together_do_not_flood_an_order_either() -> None:
    commands, order_id = CommandLimit(), uuid4()
    within = COMMANDS_PER_ORDER // COMMANDS_OF_A_CALLER
    for caller in range(within):
        # The refusal that ends it takes nothing from what the others may send.
        assert '"order-by-caller"' in sent_to(order_id, commands.by(f"caller-{caller}")).fields["RateLimit"]

    with pytest.raises(TooMany, match="180 commands") as refusal:
        commands.by("another").count(order_id)

    assert refusal.value.fields["RateLimit-Policy"] == '"order";q=180;w=60'
    commands.by("another").count(uuid4())


def test_the_next_minute_is_a_new_one(clock: SimpleNamespace) -> None:
    commands, order_id = CommandLimit(), uuid4()

    refusal = sent_to(order_id, commands)

    clock.now += int(refusal.fields["Retry-After"])
    commands.count(order_id)


# Work in hand.


async def test_beyond_its_capacity_it_says_so_at_once_and_recovers(lonely: System) -> None:
    async with api_of(set_to(lonely, api_concurrency=2, answer_deadline=5.0)) as http:
        waiting = [await in_hand(lonely, http) for _ in range(2)]
        beyond = await http.post("/orders/", json=a_body())
        live = await http.get("/health")
        answers = await asyncio.gather(*waiting)
        after = await http.get("/orders/")

    assert (beyond.status_code, beyond.json()["code"]) == (503, "overloaded")
    assert beyond.headers["Retry-After"] == "1"
    assert "RateLimit" in beyond.headers
    assert live.status_code == 200
    assert [answer.status_code for answer in answers] == [202, 202]
    assert after.status_code == 200


async def in_hand(system: System, http: httpx2.AsyncClient) -> "asyncio.Task[httpx2.Response]":
    """A write that waits for a worker; Temporal has it already."""
    key = str(uuid4())
    asked = asyncio.create_task(http.post("/orders/", json=a_body(), headers={"Idempotency-Key": key}))

    async def is_durable() -> bool:
        try:
            await system.handle(idempotent_order_id("api", key)).describe()
        except RPCError:
            return False
        return True

    await eventually(is_durable)
    return asked


async def test_every_answer_gives_its_place_back(system: System) -> None:
    async with api_of(set_to(system, api_concurrency=1)) as http:
        order = await place(http)
        for method, path, body, status in (
            ("GET", f"/orders/{uuid4()}", None, 404),
            ("POST", "/orders/", {}, 422),
            ("POST", "/orders/", a_body(items=[an_item(unit_price=10**9, quantity=10**6)]), 400),
            ("PUT", f"/orders/{order['id']}/status", {"status": "DELIVERED"}, 409),
            ("GET", "/orders/?colour=red", None, 422),
        ):
            assert (await http.request(method, path, json=body)).status_code == status
        assert (await http.get("/orders/")).status_code == 200


async def test_a_failure_gives_its_place_back(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_of(set_to(system, api_concurrency=1)) as http:
        with monkeypatch.context() as broken:
            broken.setattr("api.routes.read_listing", None)
            assert (await http.get("/orders/")).status_code == 500
        assert (await http.get("/orders/")).status_code == 200


async def test_clients_that_hang_up_give_their_places_back(lonely: System) -> None:
    port = free_port()
    url = f"http://localhost:{port}"
    environment = servers_of(lonely) | {
        "ORDERS_API_PORT": str(port),
        "ORDERS_API_CONCURRENCY": "2",
        "ORDERS_ANSWER_DEADLINE": "5",
    }
    async with started("-m", "api", **environment) as api, httpx2.AsyncClient(base_url=url) as http:
        await api.until_said("running on")
        async with httpx2.AsyncClient(base_url=url) as leaving:
            hands = [await in_hand(lonely, leaving) for _ in range(2)]
            assert (await http.get("/orders/")).status_code == 503
            for hand in hands:
                hand.cancel()
            await asyncio.gather(*hands, return_exceptions=True)

        async def is_served() -> bool:
            return (await http.get("/orders/")).status_code == 200

        await eventually(is_served)


async def test_a_body_that_is_still_coming_holds_no_place(system: System) -> None:
    gate = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await gate.wait()
        yield b"}"

    async with api_of(set_to(system, api_concurrency=1)) as http:
        slow = asyncio.create_task(http.post("/orders/", content=slowly(), headers=AS_JSON))
        await asyncio.sleep(0)
        for _ in range(3):
            assert (await http.get("/orders/")).status_code == 200
        gate.set()
        assert (await slow).status_code == 422


# A body.


async def test_large_bodies_have_so_much_room_and_those_of_a_usual_size_go_by(system: System) -> None:
    gate, waiting = asyncio.Event(), 0

    async def large() -> AsyncIterator[bytes]:
        nonlocal waiting
        yield b" " * (MAX_BODY_BYTES - 2)
        waiting += 1
        await gate.wait()
        yield b"{}"

    room_for = LARGE_BODIES_BYTES // (MAX_BODY_BYTES - SMALL_BODY_BYTES)

    async def are_in_hand() -> bool:
        return waiting == room_for

    async with api_of(system) as http:
        held = [
            asyncio.create_task(http.post("/orders/", content=large(), headers=AS_JSON))
            for _ in range(room_for)
        ]
        await eventually(are_in_hand)
        beyond = await http.post("/orders/", content=large(), headers=AS_JSON)
        usual = await http.post("/orders/", json=a_body())
        gate.set()
        answers = await asyncio.gather(*held)
        after = await http.post("/orders/", content=large(), headers=AS_JSON)

    assert (beyond.status_code, beyond.json()["code"], waiting) == (503, "overloaded", room_for + 1)
    assert usual.status_code == 201
    assert [answer.status_code for answer in answers] == [422] * room_for
    assert after.status_code == 422


class Endless:
    """A body without an end; `taken` counts its KiB."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 1
            yield b" " * 1_024


async def test_a_body_that_says_it_is_too_large_is_not_read(http: httpx2.AsyncClient) -> None:
    body = Endless()
    headers = AS_JSON | {"Content-Length": str(MAX_BODY_BYTES + 1)}
    response = await http.post("/orders/", content=aiter(body), headers=headers)

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert response.headers["Connection"] == "close"
    assert body.taken == 0


async def test_a_body_in_chunks_is_read_no_further_than_it_may_go(http: httpx2.AsyncClient) -> None:
    body = Endless()
    response = await http.post("/orders/", content=aiter(body), headers=AS_JSON)

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert body.taken == MAX_BODY_BYTES // 1_024 + 1


@pytest.mark.parametrize("length", ["1" * 40, "9" * 5_000, "-1", "²"])
async def test_a_length_that_is_none_does_not_open_the_door(http: httpx2.AsyncClient, length: str) -> None:
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", length.encode())]

    response = await http.post("/orders/", content=b" " * (MAX_BODY_BYTES + 1), headers=headers)

    assert response.status_code == 413


async def test_a_body_of_the_largest_size_is_read(http: httpx2.AsyncClient) -> None:
    body = json.dumps(a_body(currency="XXX"))
    largest = body + " " * (MAX_BODY_BYTES - len(body))

    response = await http.post("/orders/", content=largest.encode(), headers=AS_JSON)

    assert (response.status_code, len(largest)) == (422, MAX_BODY_BYTES)


@pytest.mark.parametrize("as_ascii", [False, True])
async def test_the_largest_order_that_there_may_be_fits(http: httpx2.AsyncClient, *, as_ascii: bool) -> None:
    """Written with escapes, which take six bytes where UTF-8 takes two."""
    name = "é" * MAX_IDENTIFIER_LENGTH
    assert len(name.encode()) <= MAX_IDENTIFIER_BYTES
    items: list[Json] = [
        an_item(product_id=name, quantity=MAX_QUANTITY, unit_price=f"{Decimal(2_000) - number}.00")
        for number in range(MAX_ITEMS)
    ]
    body = json.dumps(a_body(customer_id=name, items=items), ensure_ascii=as_ascii, indent=2)
    assert len(body) <= MAX_BODY_BYTES

    response = await http.post("/orders/", content=body.encode(), headers=AS_JSON)

    assert response.status_code == 201, response.text[:500]
    assert len(response.json()["items"]) == MAX_ITEMS
