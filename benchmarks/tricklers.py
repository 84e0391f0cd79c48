"""What slow clients cost the others: `python -m benchmarks.tricklers [API [ROUNDS]]`, on a running system.

Reads one order again and again, in 5 rounds unless told otherwise, without and with 2,000 connections that
trickle a request, half of them its head and half its body. Prints a table in Markdown with requests per
second, and the median and the 99th percentile of the waits in milliseconds. The API must be on 127.0.0.1;
with its usual rate limit, wait a minute between runs.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit

import httpx2

from api.schemas import LAPTOP_AND_MICE
from api.server import allow_many_connections
from benchmarks.machine import commit, machine, packages

TRICKLERS = 2_000
TRICKLE_SECONDS = 0.5
TRICKLE = "trickle"
READERS = 8
READS_IN_A_ROUND = 1_000
ROUNDS = 5
HEAD = b"POST /orders/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BEGINNINGS = (HEAD + b"X-Slow: ", HEAD + b"Content-Length: 99999\r\n\r\n")


@dataclass
class Figures:
    """What the rounds of one kind measured: waits in milliseconds, and the time of all rounds in seconds."""

    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def row(self, name: str) -> str:
        """A line of the table."""
        hundredths = quantiles(self.waits, n=100)
        rate = len(self.waits) / self.seconds
        return f"| {name} | {rate:.0f} | {hundredths[49]:.1f} | {hundredths[98]:.1f} | {len(self.waits)} |\n"


async def compare(port: int, rounds: int) -> None:
    """Measure the rounds in turn, and print the table."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        try:
            placed = await http.post("/orders/", json=LAPTOP_AND_MICE)
        except httpx2.TransportError as error:
            sys.exit(f"create: {error}")
    if placed.status_code != httpx2.codes.CREATED:
        sys.exit(f"create: expected 201, got {placed.status_code} {placed.text}")
    request = f"GET /orders/{placed.json()['id']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    await measure(port, request, Figures())  # to warm up
    without, with_tricklers = Figures(), Figures()
    for _ in range(rounds):
        await measure(port, request, without)
        async with trickling(port):
            await measure(port, request, with_tricklers)
    sys.stdout.write(
        f"Machine: {machine()}. Commit: {commit()}. {packages('fastapi', 'uvicorn', 'httptools')}. "
        f"{READERS} readers, {rounds} rounds of {READS_IN_A_ROUND:,} reads of each kind.\n\n"
        "| trickling connections | reads per second | p50, ms | p99, ms | reads |\n"
        "|---|---:|---:|---:|---:|\n"
    )
    sys.stdout.write(without.row("none"))
    sys.stdout.write(with_tricklers.row(f"{TRICKLERS:,}"))


async def measure(port: int, request: bytes, figures: Figures) -> None:
    """Read the order with several clients at once, for one round."""
    began = time.perf_counter()
    readers = [read(port, request, READS_IN_A_ROUND // READERS) for _ in range(READERS)]
    for waits in await asyncio.gather(*readers):
        figures.waits += waits
    figures.seconds += time.perf_counter() - began


async def read(port: int, request: bytes, times: int) -> list[float]:
    """Send the request so often, one after the other on one connection; the waits in milliseconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    waits = []
    for _ in range(times):
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        waits.append(1_000 * (time.perf_counter() - began))
        if not head.startswith(b"http/1.1 200 "):
            sys.exit(f"get: expected 200, got {body.decode()}")
    writer.close()
    return waits


@asynccontextmanager
async def trickling(port: int) -> AsyncIterator[None]:
    """Tricklers in a process of their own, until the block ends; they are all there when it begins."""
    options = ("-m", "benchmarks.tricklers", f"http://127.0.0.1:{port}", TRICKLE)
    process = await asyncio.create_subprocess_exec(sys.executable, *options, stdout=asyncio.subprocess.PIPE)
    try:
        if process.stdout is None or not await process.stdout.readline():
            sys.exit("The tricklers cannot connect")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def trickle(port: int) -> None:
    """Keep the connections trickling: one that the API closes is opened anew. Ends with its process."""
    opened = [asyncio.Event() for _ in range(TRICKLERS)]

    async def trickle_one(number: int) -> None:
        await asyncio.sleep(number / 1_000)  # as fast as a backlog of connections takes them
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened[number].set()
            with suppress(ConnectionError):
                writer.write(BEGINNINGS[number % len(BEGINNINGS)])
                while not reader.at_eof():
                    await asyncio.sleep(TRICKLE_SECONDS)
                    writer.write(b"1")
                    await writer.drain()
            writer.close()

    async with asyncio.TaskGroup() as tricklers:
        for number in range(TRICKLERS):
            tricklers.create_task(trickle_one(number))
        for event in opened:
            await event.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def main(api_url: str = "http://127.0.0.1:8000", what: str = str(ROUNDS)) -> None:
    """Compare in so many rounds, or be the tricklers of a comparison."""
    address = urlsplit(api_url)
    if address.hostname != "127.0.0.1":
        sys.exit(f"The API must be on 127.0.0.1, not on {address.hostname}")
    allow_many_connections()
    port = address.port or 80
    asyncio.run(trickle(port) if what == TRICKLE else compare(port, int(what)))


if __name__ == "__main__":
    main(*sys.argv[1:])
