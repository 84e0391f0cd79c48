"""Systems that have lost something that they depend on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import make_url
from temporalio.client import Client

from database.engine import create_engine
from embedded.child import free_port, running
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from tests.system import System


@asynccontextmanager
async def without_postgresql(system: System) -> AsyncIterator[System]:
    """The same system where nothing listens at PostgreSQL's address."""
    url = make_url(system.settings.require_database_url()).set(port=free_port())
    settings = system.settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})
    engine = create_engine(settings, application_name="tests-without-postgresql")
    try:
        yield replace(system, engine=engine)
    finally:
        await engine.dispose()


@asynccontextmanager
async def with_a_line_to_postgresql(system: System) -> AsyncIterator[tuple[System, "Line"]]:
    """The same system, connected to PostgreSQL over a line that can be cut."""
    url = make_url(system.settings.require_database_url())
    line = Line(str(url.host), int(url.port or 0))
    async with await asyncio.start_server(line.carry, "127.0.0.1", 0) as server:
        url = url.set(port=server.sockets[0].getsockname()[1])
        settings = system.settings.model_copy(
            update={"database_url": url.render_as_string(hide_password=False)}
        )
        engine = create_engine(settings, application_name="tests-line-to-postgresql")
        try:
            yield replace(system, engine=engine), line
        finally:
            line.cut()
            await engine.dispose()


@asynccontextmanager
async def with_a_slow_postgresql(system: System) -> AsyncIterator[System]:
    """The same system where every statement on orders takes longer than its time."""
    settings = system.settings.model_copy(update={"database_statement_timeout": 0.2})
    engine = create_engine(settings, application_name="tests-slow-postgresql")
    try:
        async with system.engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                await connection.exec_driver_sql("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                yield replace(system, engine=engine)
    finally:
        await engine.dispose()


@asynccontextmanager
async def without_temporal(system: System) -> AsyncIterator[System]:
    """The same system where Temporal has never been at its address; the client is lazy, as the API's is."""
    yield replace(system, client=await _client(system, f"127.0.0.1:{free_port()}", lazy=True))


@asynccontextmanager
async def with_a_line_to_temporal(system: System) -> AsyncIterator[tuple[System, "Line"]]:
    """The same system, connected to Temporal over a line that can be cut."""
    host, port = system.client.service_client.config.target_host.split(":")
    line = Line(host, int(port))
    async with await asyncio.start_server(line.carry, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        try:
            yield replace(system, client=await _client(system, address)), line
        finally:
            line.cut()


@asynccontextmanager
async def with_a_temporal_that_soon_has_enough(system: System, signals: int) -> AsyncIterator[System]:
    """The same system on a Temporal server of its own, without a worker, whose runs take so many signals."""
    temporal = prepare_temporal(free_port(), search_attributes=SEARCH_ATTRIBUTES)
    limit = ("--dynamic-config-value", f"history.maximumSignalsPerExecution={signals}")
    async with running(replace(temporal.program, command=(*temporal.program.command, *limit))):
        client = await Client.connect(temporal.address, data_converter=system.client.data_converter)
        yield replace(system, client=client)


async def _client(system: System, address: str, *, lazy: bool = False) -> Client:
    return await Client.connect(
        address, namespace=system.client.namespace, data_converter=system.client.data_converter, lazy=lazy
    )


@dataclass
class Line:
    """A TCP line to a server.

    Once cut, it refuses everybody; once deaf, it carries nothing to the server; once mute, nothing back.
    """

    host: str
    port: int
    is_cut: bool = False
    is_deaf: bool = False
    is_mute: bool = False
    ends: list[asyncio.StreamWriter] = field(default_factory=list)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, both ways."""
        self.ends.append(writer)
        if self.is_cut:
            self.cut()
            return
        there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
        self.ends.append(there_writer)
        await asyncio.gather(
            _pump(reader, there_writer, lambda: not self.is_deaf),
            _pump(there_reader, writer, lambda: not self.is_mute),
        )

    def cut(self) -> None:
        """Break every connection, and each that is still to come."""
        self.is_cut = True
        for end in self.ends:
            end.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_carried: Callable[[], bool]
) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            if is_carried():
                writer.write(data)
                await writer.drain()
    writer.close()
