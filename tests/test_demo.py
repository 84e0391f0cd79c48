"""`orders demo` against a running system: its API, its worker and its schedule are processes of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from embedded.child import free_port
from orders.names import PROMOTION_SCHEDULE_ID
from tests.conftest import Systems
from tests.processes import run_to_its_end, servers_of, started
from tests.system import System


@dataclass(frozen=True)
class Shop:
    """A system without a worker, its API's address, and the environment of its processes."""

    system: System
    url: str
    environment: dict[str, str]

    async def demo(self, url: str | None = None) -> tuple[int, list[str]]:
        """The exit code of a walk through it, and what the walk showed."""
        return await run_to_its_end("-m", "cli", "demo", url or self.url, **self.environment)


@pytest.fixture(scope="module")
async def shop(systems: Systems) -> AsyncIterator[Shop]:
    port = str(free_port())
    async with AsyncExitStack() as running:
        system = await running.enter_async_context(systems("demo"))
        environment = servers_of(system) | {"ORDERS_API_PORT": port, "ORDERS_ANSWER_DEADLINE": "1"}
        api = await running.enter_async_context(started("-m", "api", **environment))
        await api.until_said("running on")
        yield Shop(system, f"http://127.0.0.1:{port}", environment)


@asynccontextmanager
async def worker(shop: Shop) -> AsyncIterator[None]:
    async with started("-m", "worker", **shop.environment) as run:
        await run.until_said("Serving")
        yield


@asynccontextmanager
async def somebody_who_says(answer: str, status: str = "200 OK") -> AsyncIterator[str]:
    """The address of a server that gives everybody the same answer."""

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(answer)}\r\n\r\n"
        writer.write((head + answer).encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(give, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())


async def test_every_promise_is_kept_and_the_way_to_the_web_ui_is_shown(shop: Shop) -> None:
    declared, _ = await run_to_its_end("-m", "cli", "schedule", **shop.environment)
    async with worker(shop):
        code, log = await shop.demo()

    *promises, _, address = log
    assert (declared, code) == (0, 0)
    assert len(promises) == 12
    assert all(promise.startswith("✓ ") for promise in promises)
    assert address.startswith("  http://127.0.0.1:8233/namespaces/demo/workflows/order-")


async def test_a_promise_that_is_not_kept_is_told_in_one_line_and_exit_code_1(shop: Shop) -> None:
    code, (ready, broken) = await shop.demo()  # nobody works, so the first order is 202

    assert code == 1
    assert ready == "✓ The service is ready 200 healthy"
    assert broken.startswith("✗ Expected 201 for POST /orders/: ")


async def test_a_schedule_that_was_not_declared_is_told_in_one_line(shop: Shop) -> None:
    handle = shop.system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID)
    await run_to_its_end("-m", "cli", "schedule", **shop.environment)
    await handle.delete()
    async with worker(shop):
        code, log = await shop.demo()

    assert code == 1
    assert [line for line in log if not line.startswith("✓ ")] == log[-1:]
    assert "orders schedule" in log[-1]


async def test_an_api_that_is_not_there_is_told_in_one_line(shop: Shop) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    code, (line,) = await shop.demo(url)

    assert code == 1
    assert line.startswith(f"✗ No answer from {url} ")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://127.0.0.1:port"])
async def test_what_is_no_address_of_an_api_is_told_in_one_line(shop: Shop, url: str) -> None:
    code, (line,) = await shop.demo(url)

    assert code == 1
    assert line.startswith("✗ ")
    assert url in line


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("<h1>Bad Gateway</h1>", "502 Bad Gateway"),
        ("[]", "200 OK"),
        ("{}", "200 OK"),
        ('{"status": "unhealthy", "because": "[/red]"}', "503 Service Unavailable"),
    ],
)
async def test_somebody_else_at_the_address_is_told_in_one_line(shop: Shop, answer: str, status: str) -> None:
    async with somebody_who_says(answer, status) as url:
        code, log = await shop.demo(url)

    assert code == 1
    assert log[-1].startswith("✗ ")
    assert all(line.startswith(("✓ ", "✗ ")) for line in log)
