"""The servers that a benchmark measures: the shipped programs on ports of their own, in a temporary folder.

PostgreSQL is durable, Temporal keeps its data in a file, and both are set as `orders dev` sets them.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import asyncpg
import psutil
from sqlalchemy import URL, make_url
from temporalio.client import Client

from benchmarks.machine import servers
from connection import DATA_CONVERTER
from database.migrate import migrate
from embedded.child import Program, free_port, running
from embedded.postgres import prepare_postgres
from embedded.stack import api_is_ready
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT, Settings

Answers = Callable[[], Awaitable[bool]]


@dataclass
class Rig:
    """Two servers, and whatever was started on them. `processes` has the programs that run, by name."""

    settings: Settings
    client: Client
    temporal_address: str
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    @asynccontextmanager
    async def started(
        cls, *, temporal_options: Sequence[str] = (), postgres_options: Sequence[str] = ()
    ) -> AsyncIterator[Self]:
        """PostgreSQL, migrated, and Temporal, until the block ends; nothing of it is left then.

        The options are the servers' own, beside or instead of those that they are shipped with.
        """
        with TemporaryDirectory(prefix="orders-bench-", ignore_cleanup_errors=True) as name:
            # PostgreSQL's own user must get in, when root runs this.
            os.chmod(name, 0o711)  # noqa: S103, PTH101 - a Path's would count as blocking
            folder = Path(name)
            postgres = await asyncio.to_thread(prepare_postgres, folder, free_port())
            database = replace(postgres.program, command=(*postgres.program.command, *postgres_options))
            temporal = prepare_temporal(
                free_port(),
                search_attributes=SEARCH_ATTRIBUTES,
                database=folder / "temporal.db",
                options=temporal_options,
            )
            try:
                async with running(database) as first, running(temporal.program) as second:
                    settings = Settings.model_validate({"DATABASE_URL": postgres.url})
                    await asyncio.to_thread(migrate, settings.require_database_url())
                    client = await Client.connect(temporal.address, data_converter=DATA_CONVERTER)
                    rig = cls(settings, client, temporal.address)
                    rig.processes = {
                        "postgres": psutil.Process(first.pid),
                        "temporal": psutil.Process(second.pid),
                    }
                    async with rig._running:
                        yield rig
            finally:
                # Elsewhere, where PostgreSQL's user cannot enter the temporary folder.
                shutil.rmtree(postgres.folder.parent, ignore_errors=True)

    async def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Start `python -m …` under a name, and wait until it answers."""
        program = self.run(name, *arguments, environment=environment, answers=answers)
        await self._running.enter_async_context(program)

    @asynccontextmanager
    async def run(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        answers: Answers | None = None,
    ) -> AsyncIterator[None]:
        """Run `python -m …` under a name, from its first answer until the block ends."""
        program = Program(
            name=name,
            command=(sys.executable, "-m", *arguments),
            environment={**self.environment, **(environment or {})},
            folder=ROOT,
            answers=answers or _at_once,
        )
        async with running(program) as child:
            self.processes[name] = psutil.Process(child.pid)
            try:
                yield
            finally:
                del self.processes[name]

    async def start_api(self, *variant: str) -> str:
        """Start an API process, or a variant of it (`benchmarks.variants` and its name); its URL."""
        port = free_port()
        await self.start(
            "api",
            *variant,
            "api",
            environment={"ORDERS_API_PORT": str(port)},
            answers=partial(api_is_ready, "127.0.0.1", port),
        )
        return f"http://127.0.0.1:{port}"

    async def start_service(self, name: str, environment: Mapping[str, str] | None = None) -> str:
        """Start a peer, `benchmarks.<name>`, that has no readiness of its own; its URL."""
        port = free_port()
        arguments = (f"benchmarks.{name}", "--port", str(port))
        await self.start(name, *arguments, environment=environment, answers=partial(_listens, port))
        return f"http://127.0.0.1:{port}"

    async def create_database(self, name: str) -> str:
        """Create a database beside the product's; its URL."""
        url = self._database_url()
        admin = await asyncpg.connect(url.render_as_string(hide_password=False))
        try:
            await admin.execute(f'CREATE DATABASE "{name}"')
        finally:
            await admin.close()
        return url.set(database=name).render_as_string(hide_password=False)

    def _database_url(self) -> URL:
        """As asyncpg takes it."""
        return make_url(self.settings.require_database_url()).set(drivername="postgresql")

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program of the rig needs to know. Its log of every call is off, as its peers' are."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHON_DOTENV_DISABLED": "1",
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "DATABASE_URL": self.settings.require_database_url(),
            "ORDERS_RATE_LIMIT": "100000000",
            # The scheduler in crud's process would promote in the middle of a measurement.
            "ORDERS_PROMOTION_INTERVAL": "86400",
            "LOG_LEVEL": "WARNING",
        }

    async def versions(self) -> str:
        """The versions of the servers."""
        connection = await asyncpg.connect(self._database_url().render_as_string(hide_password=False))
        try:
            return await servers(self.client, connection)
        finally:
            await connection.close()

    def cpu_seconds(self) -> dict[str, float]:
        """What each program has used so far, its children included."""
        return {name: sum(map(_cpu, _family(process))) for name, process in self.processes.items()}

    def memory_bytes(self) -> dict[str, int]:
        """The private memory of each program, its children included; 0 where it has ended."""
        return {name: sum(map(_private, _family(process))) for name, process in self.processes.items()}


def _family(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # Of its children that have ended, too: PostgreSQL has a process for each connection.
    return float(times.user + times.system + times.children_user + times.children_system)


def _private(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().uss)
    return 0


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _at_once() -> bool:
    return True
