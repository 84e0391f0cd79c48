"""One PostgreSQL and one Temporal server for the whole run; a database and a namespace for each system."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import httpx2
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from database.engine import create_engine
from database.migrate import migrate
from embedded.child import free_port, running
from embedded.postgres import prepare_postgres
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import Settings
from tests.system import System

# Namespaces cannot be made and used in the same moment, so all are made when the server starts.
# A test module that needs a system of its own adds its name here.
NAMESPACES = ("shared", "lonely", "promotion", "schedule", "activities")

# A run is long enough to continue as new after so many events, so that a test can get there.
EVENTS_IN_A_RUN = 200

hypothesis_settings.register_profile(
    "orders",
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
    derandomize="CI" in os.environ,
)
hypothesis_settings.load_profile("orders")


@dataclass(frozen=True)
class Servers:
    """Where the two servers are. The database `orders` is migrated, and a template for others."""

    database_url: str
    temporal_address: str


@pytest.fixture(scope="session")
def server_data() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can enter, which pytest's are not when root runs the tests."""
    with TemporaryDirectory(prefix="orders-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
async def servers(server_data: Path) -> AsyncIterator[Servers]:
    """Real servers on free ports, stopped at the end of the run."""
    postgres = prepare_postgres(server_data, free_port(), durable=False)
    temporal = prepare_temporal(free_port(), search_attributes=SEARCH_ATTRIBUTES)
    options = [part for name in NAMESPACES for part in ("--namespace", name)]
    options += ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_IN_A_RUN}"]
    program = replace(temporal.program, command=(*temporal.program.command, *options))
    async with running(postgres.program), running(program):
        await asyncio.to_thread(migrate, settings_for(postgres.url).require_database_url())
        yield Servers(database_url=postgres.url, temporal_address=temporal.address)


def settings_for(database_url: str, **overrides: object) -> Settings:
    """Settings for a database; the others as given here, or as they are by default."""
    return Settings.model_validate({"DATABASE_URL": database_url, **overrides})


Systems = Callable[[str], AbstractAsyncContextManager[System]]


@pytest.fixture(scope="session")
def systems(servers: Servers) -> Systems:
    """Make the system of a namespace, with a fresh database of the same name; nothing runs in it yet.

    When the block ends, every history that the namespace holds must replay.
    """

    @asynccontextmanager
    async def make(namespace: str) -> AsyncIterator[System]:
        server = servers.database_url.removesuffix("/orders")
        admin = await asyncpg.connect(f"{server}/postgres")
        try:
            await admin.execute(f'CREATE DATABASE "{namespace}" TEMPLATE orders')
        finally:
            await admin.close()
        settings = settings_for(f"{server}/{namespace}")
        client = await Client.connect(
            servers.temporal_address, namespace=namespace, data_converter=pydantic_data_converter
        )
        engine = create_engine(settings, application_name=f"tests-{namespace}")
        system = System(settings=settings, engine=engine, client=client)
        try:
            yield system
            await system.replay_everything()
        finally:
            await engine.dispose()

    return make


@pytest.fixture(scope="session")
async def system(systems: Systems) -> AsyncIterator[System]:
    """The system that most tests share, with its workers running."""
    async with systems("shared") as system, system.workers():
        yield system


@pytest.fixture(scope="session")
async def http(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the shared system's API."""
    async with system.http() as client:
        yield client
