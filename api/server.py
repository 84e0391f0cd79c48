"""The server: uvicorn, with our connections, our way to end and as many files as connections need."""

import asyncio
import resource
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from api.protocol import BoundedProtocol
from settings import Settings

OPEN_FILES = 10_240
"""Descriptors that the process asks for: thousands of connections, and as much as macOS grants."""


def allow_many_connections() -> None:
    """Raise the soft limit of open files, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class SignalledServer(uvicorn.Server):
    """A server that leaves signals to us: uvicorn would raise them anew and end with their exit code."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield

    async def serve_until(self, stop: asyncio.Event, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the event is set, then finish the requests in hand."""

        async def leave_after() -> None:
            await stop.wait()
            await self.leave()

        leaving = asyncio.create_task(leave_after())
        try:
            await self.serve(sockets)
        finally:
            leaving.cancel()
        if not self.started:  # The log says why.
            sys.exit(STARTUP_FAILURE)

    async def leave(self) -> None:
        """Take no more requests."""
        self.should_exit = True


class Server(SignalledServer):
    """The API's server."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        self._drain_seconds = settings.api_drain
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.api_host,
                port=settings.api_port,
                http=BoundedProtocol,
                # Nothing here speaks WebSocket, and its connections would have no bounds.
                ws="none",
                log_config=None,
                # Longer than any answer takes, so that only a request that never ends is cut off.
                timeout_graceful_shutdown=ceil(settings.answer_deadline) + 5,
                access_log=False,
                server_header=False,
            )
        )

    async def leave(self) -> None:
        """Let balancers turn away, then take no more requests."""
        self._app.state.is_draining = True
        await asyncio.sleep(self._drain_seconds)
        await super().leave()
