"""Who is let in, to which calls, and what a browser is told about every answer."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx2
import pytest
from fastapi.routing import APIRoute

from api.bodies import MAX_BODY_BYTES
from api.keys import Scope, refuse_exposure
from api.routes import router
from database.keys import revoke_key
from embedded.child import free_port
from settings import ConfigurationError
from tests.api.callers import Holder, a_key, set_to, with_its_own_database
from tests.api.conftest import a_body, api_of
from tests.api.contract import assert_careful_with_browsers
from tests.api.outages import without_postgresql
from tests.processes import run_to_its_end, servers_of, started
from tests.system import PATIENCE_SECONDS, System

# Each call, and the one scope that opens it.
CALLS = {
    ("POST", "/orders/"): Scope.WRITE,
    ("GET", "/orders/"): Scope.READ,
    ("GET", "/orders/{order_id}"): Scope.READ,
    ("GET", "/orders/{order_id}/history"): Scope.READ,
    ("GET", "/orders/{order_id}/explain"): Scope.OPERATE,
    ("PUT", "/orders/{order_id}/status"): Scope.OPERATE,
    ("DELETE", "/orders/{order_id}"): Scope.WRITE,
}
BODIES = {"POST": {"customer_id": ""}, "PUT": {"status": "PROCESSING"}}


@dataclass(frozen=True)
class Door:
    """An API with keys, and one key of each kind."""

    http: httpx2.AsyncClient
    holders: dict[Scope, Holder]
    everything: Holder
    revoked: Holder

    async def call(self, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
        url = path.format(order_id=uuid4())
        return await self.http.request(method, url, json=BODIES.get(method), headers=headers)


@pytest.fixture(scope="module")
async def door(system: System) -> AsyncIterator[Door]:
    async with with_its_own_database(system) as guarded:
        holders = {scope: await a_key(guarded, scope, name=f"only-{scope.name}") for scope in Scope}
        everything, revoked = await a_key(guarded), await a_key(guarded, name="former")
        await revoke_key(guarded.engine, revoked.stored.id)
        async with api_of(guarded) as http:
            yield Door(http, holders, everything, revoked)


@pytest.fixture
async def keyless(system: System) -> AsyncIterator[System]:
    """A system in which no key has ever been made."""
    async with with_its_own_database(system) as keyless:
        yield keyless


async def test_the_document_names_the_scope_of_every_call(door: Door) -> None:
    paths = (await door.http.get("/openapi.json")).json()["paths"]

    documented = {
        (method.upper(), path): call["security"]
        for path, calls in paths.items()
        for method, call in calls.items()
        if path.startswith("/orders")
    }
    assert documented == {call: [{}, {"apiKey": [scope.value]}] for call, scope in CALLS.items()}


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_a_scope_opens_its_calls_and_no_other(door: Door, method: str, path: str, scope: Scope) -> None:
    answer = await door.call(method, path, door.holders[scope].headers)

    needed = CALLS[method, path]
    if scope is needed:
        assert answer.status_code in {200, 404, 422}
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert answer.json()["detail"] == f"The API key lacks the scope {needed}"
        assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{needed}"'


@pytest.mark.parametrize(
    ("method", "path"),
    sorted(
        {
            (method, route.path)
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }
    ),
)
async def test_no_route_answers_somebody_without_a_key(door: Door, method: str, path: str) -> None:
    nobody = await door.call(method, path, {})
    somebody = await door.call(method, path, door.everything.headers)

    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    assert "An API key is needed" in nobody.json()["detail"]
    assert somebody.status_code in {200, 404, 422}


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"]
)
async def test_health_and_documentation_ask_for_no_key(door: Door, path: str) -> None:
    assert (await door.http.get(path)).status_code == 200


GARBLED = {
    "nothing": "",
    "no scheme": "{key}",
    "no key": "Bearer",
    "an empty key": "Bearer ",
    "another scheme": "Basic {key}",
    "a scheme that begins alike": "Bearers {key}",
    "a quoted key": 'Bearer "{key}"',
    "two keys": "Bearer {key}, {key}",
    "two keys and a blank": "Bearer {key} {key}",
    "no prefix": "Bearer {id}_{secret}",
    "another prefix": "Bearer pupils_{id}_{secret}",
    "another case": "Bearer ORDERS_{id}_{secret}",
    "no secret": "Bearer orders_{id}_",
    "half a secret": "Bearer orders_{id}_{half}",
    "another's secret": "Bearer orders_{id}_{other}",
    "its digest": "Bearer orders_{id}_{digest}",
    "an unknown id": "Bearer orders_0123456789abcdef_{secret}",
    "a revoked key": "Bearer {revoked}",
    "letters of elsewhere": "Bearer orders_{id}_\xe9\xe9",
    "a flood": "Bearer {flood}",
}


def written(pattern: str, door: Door) -> str:
    """A value of `Authorization`, made of what the keys of the door are made of."""
    holder = door.everything
    return pattern.format(
        key=holder.text,
        id=holder.stored.id,
        secret=holder.secret,
        half=holder.secret[:21],
        other=door.holders[Scope.READ].secret,
        digest=holder.stored.digest.hex()[:43],
        revoked=door.revoked.text,
        flood="x" * 60_000,
    )


@pytest.mark.parametrize("pattern", GARBLED.values(), ids=GARBLED.keys())
async def test_what_is_not_a_valid_key_opens_nothing_and_is_repeated_nowhere(
    door: Door, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    holder, other = door.everything, door.holders[Scope.READ]
    value = written(pattern, door)

    answer = await door.http.get("/orders/", headers=[(b"Authorization", value.encode("latin-1"))])

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.json()["detail"] == "The API key is not valid"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    said = answer.text + str(answer.headers) + "".join(str(record.__dict__) for record in caplog.records)
    for secret in (holder.secret, other.secret, door.revoked.secret):
        assert secret not in said


@pytest.mark.parametrize(
    "pattern",
    [
        "Bearer {key}",
        *(
            GARBLED[name]
            for name in ("another's secret", "an unknown id", "a revoked key", "half a secret", "a flood")
        ),
    ],
)
async def test_the_time_that_a_judgement_takes_tells_nothing_of_a_key(
    door: Door, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key is compared, in constant time: a digest with a digest, whatever else is wrong with it."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr("api.keys.hmac.compare_digest", watched)
    value = written(pattern, door)

    await door.http.get("/orders/", headers=[(b"Authorization", value.encode("latin-1"))])

    assert [(len(one), len(other)) for one, other in compared] == [(32, 32)]


@pytest.mark.parametrize("pattern", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}", "Bearer {}  "])
async def test_a_key_is_taken_however_its_scheme_is_written(door: Door, pattern: str) -> None:
    answer = await door.http.get("/orders/", headers={"Authorization": pattern.format(door.everything.text)})

    assert answer.status_code == 200


@pytest.mark.parametrize("first_is_valid", [True, False])
async def test_of_two_keys_none_is_taken(door: Door, *, first_is_valid: bool) -> None:
    valid, revoked = door.everything.headers["Authorization"], door.revoked.headers["Authorization"]
    pair = (valid, revoked) if first_is_valid else (revoked, valid)

    answer = await door.http.get("/orders/", headers=[("Authorization", value) for value in pair])

    assert (answer.status_code, answer.json()["detail"]) == (401, "The API key is not valid")


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
async def test_an_open_api_answers_no_request_with_two_hosts(keyless: System, hosts: tuple[str, str]) -> None:
    async with api_of(keyless) as http:
        answer = await http.get("/orders/", headers=[("Host", host) for host in hosts])

    assert answer.status_code == 421


async def test_a_valid_key_is_repeated_in_no_log_and_no_answer(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    answers = [await door.call(*call, door.everything.headers) for call in CALLS]

    said = "".join(answer.text + str(answer.headers) for answer in answers)
    said += "".join(str(record.__dict__) for record in caplog.records)
    assert door.everything.secret not in said


async def test_a_refused_stranger_is_logged_by_address_and_a_refused_caller_by_name(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reader = door.holders[Scope.READ]

    await door.http.get("/orders/")
    await door.http.delete(f"/orders/{uuid4()}", headers=reader.headers)

    refusals = [record.getMessage() for record in caplog.records if record.name == "api"]
    lines = [record.__dict__ for record in caplog.records if record.name == "api.access"]
    assert [(line["status"], line["caller"], line["address"]) for line in lines] == [
        (401, None, "127.0.0.1"),
        (403, f"only-READ ({reader.stored.id})", "127.0.0.1"),
    ]
    assert refusals == [
        "An API key is needed: `Authorization: Bearer <key>`",
        "The API key lacks the scope orders:write",
    ]


@pytest.mark.parametrize(
    ("scope", "status"), [(None, 401), (Scope.READ, 403)], ids=["without a key", "without the scope"]
)
async def test_who_may_not_write_is_told_so_before_a_body_is_read(
    door: Door, scope: Scope | None, status: int
) -> None:
    asked_for = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked_for
        asked_for = True
        while True:
            yield b" "
            await asyncio.sleep(0)

    headers = door.holders[scope].headers if scope else {}
    answer = await door.http.post(
        "/orders/", content=endless(), headers=headers | {"Content-Type": "application/json"}
    )

    assert (answer.status_code, asked_for) == (status, False)


async def test_who_calls_is_asked_before_what_is_sent_is_judged(door: Door) -> None:
    answer = await door.http.post("/orders/?pigs=1", content=b"\xff{", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "127.9.9.9", "[::1]", "[::1]:80"]
)
async def test_an_open_api_answers_to_this_machines_names(keyless: System, host: str) -> None:
    async with api_of(keyless) as http:
        assert (await http.get("/orders/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104
        "",
        "[::]",
    ],
)
async def test_an_open_api_answers_no_web_page_that_gave_this_machine_another_name(
    keyless: System, host: str
) -> None:
    async with api_of(keyless) as http:
        answer = await http.get("/orders/", headers={"Host": host})

    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")


async def test_an_api_that_is_open_by_name_answers_to_every_host(keyless: System) -> None:
    async with api_of(set_to(keyless, api_allow_anonymous=True, api_host="0.0.0.0")) as http:  # noqa: S104
        assert (await http.get("/orders/", headers={"Host": "orders.example"})).status_code == 200


async def test_with_a_key_the_host_may_be_any(door: Door) -> None:
    headers = door.everything.headers | {"Host": "orders.example"}

    assert (await door.http.get("/orders/", headers=headers)).status_code == 200


async def test_allowing_anonymous_callers_does_not_open_an_api_that_has_a_key(keyless: System) -> None:
    await a_key(keyless)

    async with api_of(set_to(keyless, api_allow_anonymous=True)) as http:
        assert (await http.get("/orders/")).status_code == 401


async def test_an_exposed_api_without_any_key_lets_nobody_in(keyless: System) -> None:
    async with api_of(set_to(keyless, api_host="0.0.0.0")) as http:  # noqa: S104
        assert (await http.get("/orders/")).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "orders.example"])  # noqa: S104
async def test_serving_other_machines_without_a_key_is_refused(keyless: System, host: str) -> None:
    exposed = set_to(keyless, api_host=host)

    with pytest.raises(ConfigurationError, match=f"^ORDERS_API_HOST={host} .*`orders keys create`"):
        await refuse_exposure(exposed.settings, exposed.engine)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_host": "127.0.0.1"},
        {"api_host": "::1"},
        {"api_host": "localhost"},
        {"api_host": "::", "api_allow_anonymous": True},
    ],
    ids=str,
)
async def test_serving_this_machine_or_everybody_by_name_needs_no_key(
    keyless: System, settings: dict[str, object]
) -> None:
    await refuse_exposure(set_to(keyless, **settings).settings, keyless.engine)


async def test_serving_other_machines_is_fine_with_a_key_and_while_nobody_can_say(keyless: System) -> None:
    exposed = set_to(keyless, api_host="::")

    async with without_postgresql(exposed) as unknown:
        await refuse_exposure(unknown.settings, unknown.engine)
    await a_key(exposed)
    await refuse_exposure(exposed.settings, exposed.engine)


async def test_a_database_that_was_not_migrated_is_named_before_other_machines_are_served(
    keyless: System,
) -> None:
    async with keyless.engine.connect() as connection:
        await connection.exec_driver_sql("DROP TABLE api_keys")

    exposed = set_to(keyless, api_host="::")
    with pytest.raises(ConfigurationError, match="run `orders migrate`"):
        await refuse_exposure(exposed.settings, exposed.engine)


@asynccontextmanager
async def serving(system: System, **environment: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the real process, which listens to every machine."""
    port = str(free_port())
    listening = {"ORDERS_API_HOST": "0.0.0.0", "ORDERS_API_PORT": port}  # noqa: S104
    async with started("-m", "api", **servers_of(system), **listening, **environment) as api:
        await api.until_said(f"running on http://0.0.0.0:{port}")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            yield http


async def test_a_process_that_would_serve_other_machines_without_a_key_ends_with_one_line_and_code_2(
    keyless: System,
) -> None:
    code, log = await run_to_its_end("-m", "api", **servers_of(keyless), ORDERS_API_HOST="0.0.0.0")  # noqa: S104

    (line,) = log
    assert code == 2
    assert line.startswith("api: ORDERS_API_HOST=0.0.0.0 would serve other machines and there is no API key")


async def test_a_process_serves_other_machines_with_a_key(keyless: System) -> None:
    holder = await a_key(keyless)

    async with serving(keyless) as http:
        answers = [await http.get("/orders/", headers=headers) for headers in (holder.headers, {})]

    assert [answer.status_code for answer in answers] == [200, 401]


async def test_a_process_that_is_open_by_name_serves_everybody(keyless: System) -> None:
    async with serving(keyless, ORDERS_API_ALLOW_ANONYMOUS="true") as http:
        assert (await http.get("/orders/", headers={"Host": "orders.example"})).status_code == 200


async def test_a_stranger_on_a_real_connection_is_refused_before_the_body_has_come(keyless: System) -> None:
    await a_key(keyless)
    head = (
        "POST /orders/ HTTP/1.1\r\nHost: orders\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    )

    async with serving(keyless) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_every_kind_of_answer_keeps_browsers_careful(
    system: System, lonely: System, keyless: System, door: Door
) -> None:
    async with api_of(system) as http:
        order = (await http.post("/orders/", json=a_body())).json()
        path, as_json = f"/orders/{order['id']}", {"Content-Type": "application/json"}
        answers = {
            200: await http.get(path),
            201: await http.post("/orders/", json=a_body()),
            304: await http.get(path, headers={"If-None-Match": "*"}),
            400: await http.post("/orders/", content=b"{", headers=as_json),
            404: await http.get("/pigs"),
            405: await http.patch("/orders/"),
            409: await http.put(f"{path}/status", json={"status": "DELIVERED"}),
            412: await http.delete(path, headers={"If-Match": '"9"'}),
            413: await http.post("/orders/", content=b" " * (MAX_BODY_BYTES + 1), headers=as_json),
            415: await http.post("/orders/", content=b"{}"),
            421: await http.get("/orders/", headers={"Host": "evil.example"}),
            422: await http.get("/orders/1"),
        }
    async with api_of(lonely) as http:
        answers[202] = await http.post("/orders/", json=a_body(), headers={"Prefer": "respond-async"})
    async with api_of(set_to(system, rate_limit=1)) as http:
        # A minute may end between two of them, but not twice.
        answers[429] = [await http.get("/orders/") for _ in range(4)][-1]
    async with without_postgresql(system) as broken, api_of(broken) as http:
        answers[503] = await http.get("/orders/")
    answers[401] = await door.http.get("/orders/")
    answers[403] = await door.http.post("/orders/", headers=door.holders[Scope.READ].headers)
    async with keyless.engine.connect() as connection:
        await connection.exec_driver_sql("DROP TABLE orders CASCADE")
    async with keyless.http() as failing:
        answers[500] = await failing.get("/orders/")

    for status, answer in answers.items():
        assert answer.status_code == status
        assert_careful_with_browsers(answer.headers)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_pages_of_the_documentation_may_load_what_is_served_here_and_nothing_else(
    door: Door, page: str
) -> None:
    policy = (await door.http.get(page)).headers["Content-Security-Policy"]

    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert directives["default-src"] == ["'self'"]
    assert directives["frame-ancestors"] == ["'none'"]
    allowed = {source for sources in directives.values() for source in sources}
    assert allowed == {"'self'", "'none'", "'unsafe-inline'", "data:", "blob:"}


def preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }


async def test_no_other_origin_is_let_in_unless_it_is_named(door: Door) -> None:
    asked = await door.http.options("/orders/", headers=preflight("https://shop.example"))
    read = await door.http.get("/health", headers={"Origin": "https://shop.example"})

    assert asked.status_code == 405
    for answer in (asked, read):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_the_origin_that_is_named_is_let_in_and_no_other(keyless: System) -> None:
    async with set_to(keyless, cors_origins=("https://shop.example",)).http() as http:
        asked = await http.options("/orders/", headers=preflight("https://shop.example"))
        read = await http.get("/orders/", headers={"Origin": "https://shop.example"})
        stranger = await http.options("/orders/", headers=preflight("https://evil.example"))
        stranger_read = await http.get("/orders/", headers={"Origin": "https://evil.example"})

    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert read.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "ETag" in read.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in asked.headers
    assert stranger.status_code == 400
    assert "Access-Control-Allow-Origin" not in stranger.headers
    assert "Access-Control-Allow-Origin" not in stranger_read.headers
