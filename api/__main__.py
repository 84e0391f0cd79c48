"""The API process: `python -m api`."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil

import uvicorn

import process
from api.app import create_app
from connection import connect
from database.engine import create_engine
from logs import configure_logs
from settings import load_settings


class _Server(uvicorn.Server):
    """A server that leaves signals to us: uvicorn would raise them anew and end with their exit code."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield

    async def stop_after(self, stop: asyncio.Event) -> None:
        """Finish the requests in hand once the event is set."""
        await stop.wait()
        self.should_exit = True


async def _main() -> None:
    settings = load_settings()
    configure_logs(settings, process="api")
    engine = create_engine(settings, application_name="api")
    # Lazy, so that reads are served from PostgreSQL while Temporal is away.
    client = await connect(lazy=True)
    server = _Server(
        uvicorn.Config(
            create_app(settings, client, engine),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            # Longer than any answer takes, so that only a request that never ends is cut off.
            timeout_graceful_shutdown=ceil(settings.answer_deadline) + 5,
            access_log=False,
            server_header=False,
        )
    )
    await asyncio.gather(server.serve(), server.stop_after(process.stop_requested()))


process.run("api", _main)
