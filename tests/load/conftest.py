"""Services to put a load on: the real API on a port, and one that remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import create_app
from embedded.child import free_port
from tests.system import System, eventually


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:  # noqa: ANN401 - any ASGI application
    """The address of an application, until the block ends."""
    port = free_port()
    config = uvicorn.Config(app, port=port, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def has_started() -> bool:
        return server.started

    await eventually(has_started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def api_served(system: System) -> AsyncIterator[str]:
    """The address of a system's own API."""
    app = create_app(system.settings, system.client, system.engine)
    async with app.router.lifespan_context(app), served(app) as address:
        yield address


@pytest.fixture(scope="session")
async def address(system: System) -> AsyncIterator[str]:
    """Where the shared system's API is served."""
    async with api_served(system) as address:
        yield address


@dataclass(frozen=True)
class Asked:
    """A request, as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked], tuple[int, Any]]


def as_documented(asked: Asked) -> tuple[int, Any]:
    """An answer such as the API gives."""
    if asked.method == "POST" and asked.body != b"{}":
        return 201, {"id": str(uuid4())}
    if asked.method == "GET" and "?" in asked.target:
        return 200, {"orders": [{"id": str(uuid4())}], "next_cursor": None}
    return 200, {}


@dataclass
class Recorder:
    """A service of the API's shape: keeps every request, and answers as it is told while `answers` is set."""

    answer: Answer = as_documented
    asked: list[Asked] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        methods = ["GET", "POST", "PUT", "DELETE"]
        async with served(Starlette(routes=[Route("/{path:path}", self._take, methods=methods)])) as address:
            yield address

    async def _take(self, request: Request) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = Asked(request.method, target, dict(request.headers), await request.body())
        self.asked.append(asked)
        await self.answers.wait()
        status, content = self.answer(asked)
        text = content if isinstance(content, str) else json.dumps(content)
        return Response(text, status_code=status, headers={"Location": "/elsewhere"})
