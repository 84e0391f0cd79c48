"""What each guard costs on a GET of one order: `python -m benchmarks.guards [ROUNDS]`, 500 unless given.

On the servers that the environment names; a worker must run, as `scripts/dev` has one. The application runs
in this process, without a server. Each round asks a few times with every guard, and then without one of them
after the other, in an order by chance; a guard costs what a round takes less without it. The bounds of a
connection are measured beside it: our protocol and uvicorn's own, each on a socket, before an application
that does nothing. Prints a table in Markdown with the median, and the quartiles, of the rounds: microseconds
of this process's CPU time for one request, which what PostgreSQL does does not blur.
"""

import asyncio
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    redirect_stderr,
)
from pathlib import Path
from socket import create_server
from statistics import median, quantiles
from unittest.mock import patch

import httpx2
import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import process
from api.app import create_app
from api.keys import ANONYMOUS, Caller, KeyRing, make_key
from api.keys import Scope as KeyScope
from api.limits import BodyRoom, Capacity, RequestLimit
from api.parameters import QueryParameters
from api.protocol import BoundedProtocol
from api.schemas import LAPTOP_AND_MICE
from api.server import SignalledServer
from benchmarks.machine import commit, machine, packages
from connection import connect
from database.engine import create_engine
from logs import configure_logs
from settings import load_settings

ROUNDS = 500
WARM_UP = 20
REQUESTS = 20
MICROSECONDS = 1_000_000
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - what the log is written to, until the end


def identify_nobody(_ring: KeyRing, *_told: object) -> Caller:
    """Ask for no key."""
    return ANONYMOUS


async def count_nothing(_limit: RequestLimit, _caller: str) -> tuple[bool, dict[str, str]]:
    """Count no request."""
    return True, {}


def bound_nothing(_capacity: Capacity) -> AbstractContextManager[None]:
    """Take no place."""
    return nullcontext()


def hold_nothing(_room: BodyRoom) -> AbstractContextManager[None]:
    """Bound no bodies."""
    return nullcontext()


def combine_nothing(headers: object) -> object:
    """Leave the lines of a header as they are."""
    return headers


def check_nothing(_parameters: QueryParameters, _request: object) -> None:
    """Look at no parameter."""


def add_nothing(_headers: object) -> None:
    """Add no field."""


def log_nothing(*_words: object, **_more: object) -> None:
    """Write no line."""


WITHOUT: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "keys": lambda: patch.object(KeyRing, "identify", identify_nobody),
    "rate limit": lambda: patch.object(RequestLimit, "count", count_nothing),
    "parameters": lambda: patch.object(QueryParameters, "check", check_nothing),
    "repeated fields": lambda: patch("api.request_id.combined", combine_nothing),
    "room for bodies": lambda: patch.object(BodyRoom, "share", hold_nothing),
    "capacity": lambda: patch.object(Capacity, "taken", bound_nothing),
    "access log": lambda: patch("api.request_id.logger.info", log_nothing),
    "security headers": lambda: patch("api.request_id.add_security_fields", add_nothing),
}
EVERY_GUARD = "every guard"
"""The name of the variant that is left as it is."""

PROTOCOLS = {"bounded": BoundedProtocol, "uvicorn's own": HttpToolsProtocol}
OVER_A_SOCKET = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"


async def main() -> None:
    """Place an order, ask for it in rounds, and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    settings = load_settings().model_copy(update={"rate_limit": 100_000_000, "log_format": "json"})
    engine = create_engine(settings, application_name="benchmark")
    app = create_app(settings, await connect(lazy=True), engine)
    key = with_a_key(app)
    path = await place(app, key)
    with redirect_stderr(NOWHERE):
        configure_logs(settings, process="benchmark")
    async with AsyncExitStack() as served:
        lines = {name: await served.enter_async_context(a_line(kind)) for name, kind in PROTOCOLS.items()}
        measured = [
            await one_round(app, scope_of(path, key)) | await one_round_of(lines)
            for _ in range(WARM_UP + rounds)
        ]
    await engine.dispose()
    show(measured[WARM_UP:])


def with_a_key(app: FastAPI) -> str:
    """A key that this process alone knows: it is in no database, so nothing has to be taken back."""
    text, stored = make_key("benchmark", KeyScope)
    ring: KeyRing = app.state.guard.keys
    ring._keys = {stored.id: stored}  # noqa: SLF001 - what reading it from PostgreSQL would set
    return text


async def place(app: FastAPI, key: str) -> str:
    """Place an order; its path."""
    headers = {"Authorization": f"Bearer {key}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
        placed = await http.post("/orders/", json=LAPTOP_AND_MICE)
    if placed.status_code != httpx2.codes.CREATED:
        sys.exit(f"no order was placed: {placed.status_code} {placed.text}")
    return placed.headers["Location"]


async def one_round(app: FastAPI, scope: Scope) -> dict[str, float]:
    """Every variant once, in an order by chance."""
    variants = {EVERY_GUARD: nullcontext, **WITHOUT}
    costs = {}
    for name in random.sample(list(variants), len(variants)):
        with variants[name]():
            began = time.process_time()
            for _ in range(REQUESTS):
                await ask(app, scope)
            costs[name] = (time.process_time() - began) * MICROSECONDS / REQUESTS
    return costs


async def ask(app: FastAPI, scope: Scope) -> None:
    """One request; anything but 200 ends the benchmark."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message.get("status", 200) != httpx2.codes.OK:
            sys.exit(f"expected 200, got {message['status']}")

    await app({**scope, "state": {}}, receive, send)


def scope_of(path: str, key: str) -> Scope:
    """The request as a server hands it over."""
    headers = {"host": "localhost", "accept": "application/json", "authorization": f"Bearer {key}"}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def a_line(protocol: type[asyncio.Protocol]) -> AsyncIterator[Line]:
    """A connection to a server that speaks so, before an application that does nothing."""
    config = uvicorn.Config(answer_nothing, http=protocol, ws="none", lifespan="off", log_config=None)
    config.access_log = False
    server = SignalledServer(config)
    with create_server(("127.0.0.1", 0)) as listening:
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve_until(stop, [listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            stop.set()
            await serving


async def answer_nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The application behind a measured connection."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def one_round_of(lines: dict[str, Line]) -> dict[str, float]:
    """Every protocol once, in an order by chance."""
    costs = {}
    for name in random.sample(list(lines), len(lines)):
        reader, writer = lines[name]
        began = time.process_time()
        for _ in range(REQUESTS):
            writer.write(OVER_A_SOCKET)
            await reader.readuntil(b"\r\n\r\n")
        costs[name] = (time.process_time() - began) * MICROSECONDS / REQUESTS
    return costs


def show(rounds: list[dict[str, float]]) -> None:
    """Print the table."""
    costs: dict[str, list[float]] = defaultdict(list)
    for measured in rounds:
        costs["a request with every guard"].append(measured[EVERY_GUARD])
        for name in WITHOUT:
            costs[f"of it: {name}"].append(measured[EVERY_GUARD] - measured[name])
        bounded, plain = (measured[name] for name in PROTOCOLS)
        costs["beside it: the bounds of the connection"].append(bounded - plain)
    sys.stdout.write(
        f"Machine: {machine()}. Commit: {commit()}. {packages('fastapi', 'uvicorn', 'httptools', 'limits')}. "
        f"{len(rounds)} rounds of {REQUESTS} requests.\n\n"
        "| CPU for one GET, in microseconds | median | quartiles | share |\n|---|---:|---:|---:|\n"
    )
    whole = median(costs["a request with every guard"])
    for name, values in costs.items():
        low, middle, high = quantiles(values, n=4)
        sys.stdout.write(f"| {name} | {middle:.1f} | {low:.1f} … {high:.1f} | {middle / whole:.1%} |\n")


if __name__ == "__main__":
    process.run("benchmark", main)
