"""What the product is measured against, as processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from tests.processes import Run, started


@asynccontextmanager
async def serving(
    name: str, *options: str, **environment: str
) -> AsyncIterator[tuple[Run, httpx2.AsyncClient]]:
    """A peer with an HTTP API, on a port of its own, and a client of it."""
    arguments = ("-m", f"benchmarks.{name}", "--port", "0", *options)
    async with started(*arguments, **environment) as peer:
        await peer.until_said(f"Serving {name} at ")
        (address,) = (line.rpartition(" ")[2] for line in peer.log)
        async with httpx2.AsyncClient(base_url=address) as http:
            yield peer, http
