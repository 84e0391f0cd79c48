"""Clients that nobody wants, on the real program; each ends by itself, and others do not notice."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import psutil
import pytest
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from api.protocol import BoundedProtocol
from api.server import Server, allow_many_connections
from embedded.child import free_port
from tests.api.conftest import a_body
from tests.api.contract import assert_careful_with_browsers
from tests.conftest import settings_for
from tests.processes import Run, servers_of, started
from tests.system import PATIENCE_SECONDS, System, a_customer, eventually

PROGRAM = ("-m", "api")
# The program as it is, but for how patient it is.
HASTY = (
    "-c",
    """
import runpy
from api.protocol import BoundedProtocol
for patience in ("request_seconds", "answer_seconds", "linger_seconds"):
    setattr(BoundedProtocol, patience, 1.0)
runpy.run_module("api", run_name="__main__")
""",
)
# The program as it is, but that a trickler has more time than other clients need on a busy machine.
PATIENT = (
    "-c",
    """
import runpy
from api.protocol import BoundedProtocol
BoundedProtocol.request_seconds = 20.0
runpy.run_module("api", run_name="__main__")
""",
)
WITH_FEW_FILES = (
    "-c",
    """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
runpy.run_module("api", run_name="__main__")
""",
)
# The server with an application that takes longer to answer than the client may take to ask.
UNREAD = (
    "-c",
    """
import asyncio, logging
from api.protocol import BoundedProtocol
from api.server import Server
from settings import load_settings

async def app(scope, receive, send):
    await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
    logging.info("has answered; then %s", (await receive())["type"])

logging.basicConfig(level="INFO")
BoundedProtocol.request_seconds = 1.0
server = Server(app, load_settings())
server.config.lifespan = "off"
asyncio.run(server.serve())
""",
)
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
HEALTH = HEAD + b"\r\n"
POST = b"POST /orders/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
NOWHERE = b"PUT /nowhere HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.body)


@dataclass(frozen=True)
class Connection:
    """A connection to the API, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def next_answer(self) -> Answer | None:
        """The next answer, or nothing where the API closes the connection instead."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    raise
                return None
            status, *lines = head.strip().splitlines()
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status.split()[1]), headers, body)

    async def answer(self) -> Answer:
        answer = await self.next_answer()
        assert answer is not None
        return answer

    async def answers(self) -> list[Answer]:
        """Every answer until the API closes the connection, which it must."""
        answers = []
        while answer := await self.next_answer():
            answers.append(answer)
        return answers

    async def drip_for_ever(self, what: bytes, pause: float = 0.05) -> None:
        """Send something all the time, until the API does not take it any more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await self.send(what)
                await asyncio.sleep(pause)

    async def drip(self, what: bytes, pause: float = 0.05) -> list[Answer]:
        """Every answer until the API closes the connection, which is sent something all the time."""

        dropping = asyncio.create_task(self.drip_for_ever(what, pause))
        try:
            return await self.answers()
        finally:
            dropping.cancel()
            with suppress(asyncio.CancelledError):
                await dropping


@dataclass(frozen=True)
class Api:
    """The program, and its address."""

    run: Run
    port: int

    @asynccontextmanager
    async def connected(self, data: bytes = b"", **options: int) -> AsyncIterator[Connection]:
        """A connection that has sent the data."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        try:
            writer.write(data)
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()

    async def answers(self, data: bytes) -> list[Answer]:
        """Every answer to the data, until the API closes the connection."""
        async with self.connected(data) as connection:
            return await connection.answers()

    async def statuses(self, data: bytes) -> list[int]:
        return [answer.status for answer in await self.answers(data)]

    def http(self) -> httpx2.AsyncClient:
        """A client as there should be more."""
        return httpx2.AsyncClient(base_url=f"http://localhost:{self.port}", timeout=PATIENCE_SECONDS)

    async def still_serves(self) -> bool:
        async with self.http() as http:
            return (await http.get("/health/ready")).status_code == 200


@asynccontextmanager
async def api_of(system: System, *program: str, **environment: str) -> AsyncIterator[Api]:
    port = free_port()
    environment = servers_of(system) | {"ORDERS_API_PORT": str(port)} | environment
    async with started(*program, **environment) as run:
        await run.until_said(f"running on http://127.0.0.1:{port}")
        yield Api(run, port)


@pytest.fixture(scope="module")
async def hasty(system: System) -> AsyncIterator[Api]:
    """The API, which waits a second where it waits longer otherwise."""
    async with api_of(system, *HASTY) as api:
        yield api


# A client that is slow.


async def test_a_connection_that_says_nothing_is_closed_without_a_word(hasty: Api) -> None:
    assert await hasty.answers(b"") == []


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        HEAD,
        HEAD + b"X-Slow: ",
        POST + b"Content-Length: 99\r\n\r\n",
        POST + b"Content-Length: 99\r\n\r\n{",
        POST + CHUNKED,
        POST + CHUNKED + b"5\r\n{",
        POST + CHUNKED + b"1\r\n{\r\n0\r\nX-Slow: ",
    ],
)
async def test_a_request_that_does_not_arrive_in_time_is_a_408(hasty: Api, begun: bytes) -> None:
    (answer,) = await hasty.answers(begun)

    assert answer.status == 408
    assert_careful_with_browsers(answer.headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.json == {
        "type": "urn:orders:problem:request_timeout",
        "title": "Request Timeout",
        "status": 408,
        "detail": "The request did not arrive within 1 seconds",
        "instance": "/orders/" if b"\r\n\r\n" in begun else f"urn:uuid:{answer.headers['x-request-id']}",
        "code": "request_timeout",
        "request_id": answer.headers["x-request-id"],
    }
    await hasty.run.until_said(answer.headers["x-request-id"])


@pytest.mark.parametrize("given", ["", "trickled-7"])
async def test_a_body_that_does_not_arrive_in_time_is_one_line_of_the_log(hasty: Api, given: str) -> None:
    path = f"/orders/{uuid4()}/status"
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    field = f"X-Request-ID: {given}\r\n" if given else ""

    (answer,) = await hasty.answers(f"{head}{field}Content-Length: 9\r\n\r\n{{".encode())

    request_id = answer.headers["x-request-id"]
    assert (answer.status, given in {"", request_id}) == (408, True)
    await hasty.run.until_said(request_id)
    assert await hasty.still_serves()
    (line,) = [line for line in hasty.run.log if request_id in line or path in line]
    assert f"PUT {path}" in line
    assert "status=408" in line
    assert f"request_id={request_id}" in line


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (HEAD + b"X-Slow: ", b"x"),
        (HEAD, b"X-Slow: x\r\n"),
        (POST + b"Content-Length: 999\r\n\r\n", b" "),
        (POST + CHUNKED, b"1\r\n \r\n"),
    ],
)
async def test_a_client_that_goes_on_byte_by_byte_gains_no_time(
    hasty: Api, begun: bytes, drop: bytes
) -> None:
    async with hasty.connected(begun) as connection:
        assert [answer.status for answer in await connection.drip(drop)] == [408]


async def test_line_ends_without_end_before_a_request_gain_no_time(hasty: Api) -> None:
    async with hasty.connected() as connection:
        assert await connection.drip(b"\r\n") == []

    async with hasty.connected(HEALTH) as connection:
        assert (await connection.answer()).status == 200
        assert await connection.drip(b"\r\n") == []


async def test_a_client_that_goes_on_after_its_refusal_is_cut_off(hasty: Api) -> None:
    async with hasty.connected(b"nonsense\r\n\r\n") as connection:
        assert [answer.status for answer in await connection.answers()] == [400]
        with pytest.raises(ConnectionError):
            await connection.drip_for_ever(b"nonsense\r\n\r\n")


async def test_an_application_that_has_not_answered_yet_learns_that_the_request_is_refused(
    system: System,
) -> None:
    begun = POST + b"Content-Length: 9\r\n\r\n{"
    async with api_of(system, *UNREAD) as api, api.connected(begun) as connection:
        assert [answer.status for answer in await connection.answers()] == [408]
        await api.run.until_said("has answered; then http.disconnect")
        assert not any("Traceback" in line for line in api.run.log)


async def test_on_a_kept_connection_the_next_request_has_its_own_time(hasty: Api) -> None:
    async with hasty.connected(HEALTH) as connection:
        assert (await connection.answer()).status == 200
        await asyncio.sleep(1.2)
        await connection.send(HEALTH)
        assert (await connection.answer()).status == 200
        await connection.send(HEAD)
        assert [answer.status for answer in await connection.answers()] == [408]


async def test_a_request_that_begins_before_the_last_answer_is_timed_from_that_answer(hasty: Api) -> None:
    assert await hasty.statuses(HEALTH + HEAD) == [200, 408]
    assert await hasty.statuses(HEALTH + POST + b"Content-Length: 9\r\n\r\n{") == [200, 408]


async def test_a_body_that_goes_on_after_its_answer_ends_with_the_connection(hasty: Api) -> None:
    async with hasty.connected(NOWHERE + b"Content-Length: 999\r\n\r\n") as connection:
        assert [answer.status for answer in await connection.drip(b" ")] == [404]


async def test_a_connection_is_not_kept_for_ever_after_a_body_that_came_after_its_answer(hasty: Api) -> None:
    async with hasty.connected(NOWHERE + b"Content-Length: 2\r\n\r\n") as connection:
        assert (await connection.answer()).status == 404
        await connection.send(b"{}")
        assert await connection.answers() == []


async def test_a_client_that_does_not_take_its_answer_is_cut_off(hasty: Api) -> None:
    async with hasty.http() as http:
        page = (await http.get("/docs")).text
    script = page.split('<script src="')[1].split('"')[0].encode()
    request = b"GET " + script + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with hasty.connected(limit=1) as connection:
        transport = connection.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        own = transport.get_extra_info("sockname")
        api = psutil.Process(hasty.run.child.pid)

        async def is_connected() -> bool:
            return any(it.raddr == own for it in api.net_connections("tcp"))

        async def is_cut_off() -> bool:
            return not await is_connected()

        await connection.send(request * 16)
        await eventually(is_connected)
        await eventually(is_cut_off)

    assert await hasty.still_serves()


async def test_a_client_that_asks_again_and_again_is_never_cut_off(hasty: Api) -> None:
    async with hasty.connected() as connection:
        for _ in range(25):
            await connection.send(HEALTH)
            assert (await connection.answer()).status == 200
            await asyncio.sleep(0.1)


# A client that is endless.


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)), id="fields"),
        pytest.param(HEAD + b"X:\r\n" * 5_000, id="short fields"),
        pytest.param(HEAD + b"X-Long: " + b"x" * 10 * MIB, id="a field"),
        pytest.param(HEAD + b"x" * 10 * MIB, id="the name of a field"),
        pytest.param(b"GET /" + b"x" * 10 * MIB, id="the request line"),
        pytest.param(POST + CHUNKED + b"1;" + b"x" * 10 * MIB, id="an extension of a chunk"),
        pytest.param(POST + CHUNKED + b"1\r\n{\r\n0\r\nX-Long: " + b"x" * 10 * MIB, id="a trailer"),
        pytest.param(POST + CHUNKED + b"1\r\n \r\n" * 100_000, id="chunks of a byte"),
    ],
)
async def test_a_request_that_is_endless_beside_its_body_is_a_431_before_its_end(
    hasty: Api, flood: bytes
) -> None:
    (answer,) = await hasty.answers(flood)

    assert answer.status == 431
    assert_careful_with_browsers(answer.headers)
    assert answer.json["code"] == "head_too_large"
    assert await hasty.still_serves()


@pytest.mark.parametrize(
    "fields", [b"X-Long: " + b"x" * 60 * 1024 + b"\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(98))]
)
async def test_a_head_within_the_limits_is_answered(hasty: Api, fields: bytes) -> None:
    assert await hasty.statuses(HEAD + fields + b"Connection: close\r\n\r\n") == [200]


async def test_a_long_body_is_no_long_head(hasty: Api) -> None:
    request = NOWHERE + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MIB

    assert await hasty.statuses(request + b" " * MIB) == [404]


async def test_a_client_reads_why_it_is_refused_although_it_is_still_sending(hasty: Api) -> None:
    # Unread bytes would make the kernel reset the connection, and with it the answer.
    assert await hasty.statuses(POST + b"Content-Length: %d\r\n\r\n" % (20 * MIB) + b" " * 20 * MIB) == [413]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /health",
        b"GET /orders/",
        b"DELETE /orders/1",
        b"GET /nowhere",
        b"GET /openapi.json",
        b"POST /health",
    ],
)
@pytest.mark.parametrize(
    ("fields", "drop"),
    [
        (b"Content-Length: 10000000000\r\n\r\n", b" " * 100_000),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"186a0\r\n" + b" " * 100_000 + b"\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 10000000000\r\n\r\n", b"\x1f\x8b" * 50_000),
    ],
    ids=["declared", "chunks", "compressed"],
)
async def test_a_body_that_a_call_does_not_take_is_not_read_to_its_end(
    hasty: Api, request_line: bytes, fields: bytes, drop: bytes
) -> None:
    head = request_line + b" HTTP/1.1\r\nHost: localhost\r\n" + fields
    async with hasty.connected(head) as connection:
        (answer,) = await connection.drip(drop)

    assert answer.status in {200, 404, 405, 422}
    assert answer.headers["connection"] == "close"
    assert await hasty.still_serves()


async def test_a_body_that_came_with_a_call_that_takes_none_does_not_end_the_connection(hasty: Api) -> None:
    async with hasty.connected(HEAD + b"Content-Length: 2\r\n\r\n{}") as connection:
        assert (await connection.answer()).status == 200
        await connection.send(HEALTH)
        assert (await connection.answer()).status == 200


async def test_a_body_in_chunks_is_refused_beyond_its_limit(hasty: Api) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    async with hasty.connected(POST + CHUNKED) as connection:
        (answer,) = await connection.drip(chunk)

    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_requests_without_waiting_are_answered_in_their_order(hasty: Api) -> None:
    requests = [
        b"GET /nowhere/%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %d\r\n\r\n" % (n, n) for n in range(9)
    ]
    async with hasty.connected(b"".join(requests)) as connection:
        answers = [await connection.answer() for _ in requests]

    assert [answer.headers["x-request-id"] for answer in answers] == [str(n) for n in range(9)]


async def test_more_requests_without_waiting_than_fit_are_not_kept(hasty: Api) -> None:
    statuses = await hasty.statuses(HEALTH * 5_000)

    assert statuses == [200] * len(statuses)
    assert 1 <= len(statuses) <= 17


# A client that is malformed, or means harm.


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(POST + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n", id="length and chunks"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            id="chunks and length",
        ),
        pytest.param(POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", id="two lengths"),
        pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", id="a length with a sign"),
        pytest.param(POST + b"Content-Length: 99999999999999999999\r\n\r\n", id="a length beyond numbers"),
        pytest.param(POST + b"Transfer-Encoding: gzip\r\n\r\n", id="an encoding without end"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="an encoding unknown"),
        pytest.param(POST + CHUNKED + b"1\n{\n0\n\n", id="bare LF in chunks"),
        pytest.param(POST + CHUNKED + b"fffffffffffffffff\r\n", id="a chunk beyond numbers"),
        pytest.param(HEALTH.replace(b"\r", b""), id="bare LF"),
        pytest.param(HEAD + b"X: y\n\r\n", id="bare LF in the head"),
        pytest.param(HEAD + b"X: y\r\n z\r\n\r\n", id="a folded field"),
        pytest.param(HEAD + b"X : y\r\n\r\n", id="a blank before the colon"),
        pytest.param(HEAD + b"X: \0\r\n\r\n", id="NUL"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", id="HTTP/2"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a version unknown"),
        pytest.param(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"nonsense\r\n\r\n", id="nonsense"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a path beyond ASCII"),
        pytest.param(b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", id="CONNECT"),
    ],
)
async def test_what_is_not_http_is_a_400_and_the_end(hasty: Api, request_: bytes) -> None:
    (answer,) = await hasty.answers(request_ + HEALTH)

    assert answer.status == 400
    assert_careful_with_browsers(answer.headers)
    assert answer.json["code"] == "malformed_request"
    assert answer.headers["connection"] == "close"
    assert await hasty.still_serves()


async def test_a_request_that_turns_out_to_be_broken_with_its_head_is_not_carried_out(hasty: Api) -> None:
    broken = b"DELETE /broken HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"
    sound = b"DELETE /sound HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    assert await hasty.statuses(broken) == [400]
    assert await hasty.statuses(sound) == [404]
    await hasty.run.until_said("DELETE /sound")
    assert not any("/broken" in line for line in hasty.run.log)


async def test_nonsense_after_a_request_is_not_its_answer(hasty: Api) -> None:
    assert await hasty.statuses(HEALTH + b"nonsense\r\n\r\n") == [200]
    broken = b"DELETE /broken/too HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"
    assert await hasty.statuses(HEALTH + broken) == [200]
    assert await hasty.statuses(HEALTH + POST + CHUNKED + b"nonsense\r\n") == [200]
    assert await hasty.still_serves()
    assert not any("/broken/too" in line for line in hasty.run.log)


async def test_a_body_that_ends_early_harms_nobody(hasty: Api) -> None:
    async with hasty.connected(POST + b"Content-Length: 9\r\n\r\n{") as connection:
        connection.writer.write_eof()
        assert await connection.answers() == []

    assert await hasty.still_serves()


async def test_a_field_after_the_body_is_not_taken_for_one_of_the_head(hasty: Api) -> None:
    request = POST + b"Connection: close\r\n" + CHUNKED + b"1\r\n{\r\n0\r\nX-Request-ID: smuggled\r\n\r\n"
    (answer,) = await hasty.answers(request)

    assert answer.json["code"] == "malformed_body"
    assert answer.json["request_id"] != "smuggled"


@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_an_offer_of_another_protocol_is_declined_and_the_body_remains_the_body(
    hasty: Api, pause: float
) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    head = POST + offer + b"Content-Length: %d\r\n\r\n" % len(HEALTH)
    async with hasty.connected(head) as connection:
        await asyncio.sleep(pause)  # so that the body comes with its head, or after it
        await connection.send(HEALTH)
        answer = await connection.answer()
        assert (answer.status, answer.json["code"]) == (400, "malformed_body")
        await connection.send(HEALTH)
        assert (await connection.answer()).status == 200


async def test_websockets_are_an_offer_like_another(hasty: Api) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

    async with hasty.connected(HEAD + offer + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n") as it:
        assert (await it.answer()).status == 200


async def test_an_older_client_is_answered_and_parted_with(hasty: Api) -> None:
    assert await hasty.statuses(b"GET /health HTTP/1.0\r\n\r\n" * 2) == [200]


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(hasty: Api) -> None:
    body = json.dumps(a_body()).encode()
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with hasty.connected(head) as connection:
        assert (await connection.answer()).status == 100
        await connection.send(body)
        assert (await connection.answer()).status == 201


# Many of them.


def test_a_request_that_trickles_has_ten_seconds_at_most() -> None:
    assert 0 < BoundedProtocol.request_seconds <= 10


@pytest.mark.slow
async def test_while_two_thousand_clients_trickle_the_others_are_answered(system: System) -> None:
    allow_many_connections()
    async with api_of(system, *PATIENT) as api, AsyncExitStack() as open_, api.http() as http:
        heads = [await open_.enter_async_context(api.connected(HEAD + b"X-Slow: ")) for _ in range(1_000)]
        bodies = [
            await open_.enter_async_context(api.connected(POST + b"Content-Length: 999\r\n\r\n"))
            for _ in range(1_000)
        ]
        trickling = [asyncio.create_task(it.drip(b"x", pause=0.5)) for it in heads]
        trickling += [asyncio.create_task(it.drip(b" ", pause=0.5)) for it in bodies]
        order = (await http.post("/orders/", json=a_body())).json()
        statuses = [(await http.get(f"/orders/{order['id']}")).status_code for _ in range(50)]
        assert not any(trickler.done() for trickler in trickling)
        ended = await asyncio.gather(*trickling)

    assert statuses == [200] * 50
    assert [[answer.status for answer in answers] for answers in ended] == [[408]] * 2_000


async def test_it_takes_more_connections_than_the_soft_limit_of_files_allows(system: System) -> None:
    async with api_of(system, *WITH_FEW_FILES) as api, AsyncExitStack() as open_:
        connections = [await open_.enter_async_context(api.connected(HEALTH)) for _ in range(300)]
        assert {(await connection.answer()).status for connection in connections} == {200}
        assert not any("out of system resource" in line for line in api.run.log)


async def test_with_slow_clients_it_ends_in_order_and_finishes_what_is_in_hand(system: System) -> None:
    customer = a_customer()
    async with (
        api_of(system, *PROGRAM, TEMPORAL_NAMESPACE="lonely", ORDERS_ANSWER_DEADLINE="1") as api,
        AsyncExitStack() as open_,
        api.http() as http,
    ):
        for begun in (b"", HEAD, POST + b"Content-Length: 9\r\n\r\n{"):
            for _ in range(50):
                await open_.enter_async_context(api.connected(begun))
        asked = asyncio.create_task(http.post("/orders/", json=a_body(customer_id=customer)))
        await asyncio.sleep(0.5)
        assert await api.run.asked_to_stop(signal.SIGTERM) == 0
        assert (await asked).status_code == 202


async def test_an_application_that_does_not_start_ends_the_server() -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("cannot start")
        yield

    server = Server(FastAPI(lifespan=lifespan), settings_for("postgresql://db/orders", api_port=free_port()))

    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(SystemExit) as ended:
            await server.serve_until(asyncio.Event())

    assert ended.value.code == STARTUP_FAILURE
