"""One PostgreSQL and one Temporal server for the whole run; a database and a namespace for each system."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import httpx2
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from temporalio.client import Client

from connection import DATA_CONVERTER
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
NAMESPACES = (
    "shared",
    "lonely",
    "promotion",
    "schedule",
    "activities",
    "crash",
    "crash-timed",
    "broken",
    "worker",
    "door",
    "keys",
    "release",
    "backup",
    "queries",
    "demo",
    "hostile",
    "doctor",
    "doctor-command",
    "doctor-unserved",
    "releases",
    "versions",
    "floor",
)

# A run is long enough to continue as new after so many events, so that a test can get there.
EVENTS_IN_A_RUN = 200

# The files that take longest, which begin first, so that the parts of a run end together.
LONGEST = (
    "tests/test_worker_versions.py",
    "tests/test_rolling_restart.py",
    "tests/chaos/test_mutants.py",
    "tests/api/test_server.py",
    "tests/embedded/",
    "tests/workflows/",
    "tests/benchmarks/",
    "tests/doctor/",
    "tests/test_",
    "tests/load/",
    "tests/chaos/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others stay as they are."""

    def place(item: pytest.Item) -> int:
        return next(
            (number for number, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST)
        )

    items.sort(key=place)


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


@asynccontextmanager
async def running_servers() -> AsyncIterator[Servers]:
    """Real servers on free ports, until the block ends."""
    with TemporaryDirectory(prefix="orders-tests-") as name:
        # PostgreSQL's own user must get in, when root runs the tests.
        os.chmod(name, 0o711)  # noqa: S103, PTH101 - a Path's would count as blocking
        postgres = prepare_postgres(Path(name), free_port(), durable=False)
        options = [part for namespace in NAMESPACES for part in ("--namespace", namespace)]
        options += ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_IN_A_RUN}"]
        # A version that is no longer current is drained at once, not after three minutes.
        for wait in ("RefreshInterval", "VisibilityGracePeriod"):
            options += ["--dynamic-config-value", f'matching.wv.VersionDrainageStatus{wait}="1s"']
        temporal = prepare_temporal(free_port(), search_attributes=SEARCH_ATTRIBUTES, options=options)
        async with running(postgres.program), running(temporal.program):
            await asyncio.to_thread(migrate, settings_for(postgres.url).require_database_url())
            yield Servers(database_url=postgres.url, temporal_address=temporal.address)


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """The servers of this run of the tests."""
    async with running_servers() as servers:
        yield servers


def settings_for(database_url: str, **overrides: object) -> Settings:
    """Settings for a database; the others as given here, or as they are by default."""
    return Settings.model_validate({"DATABASE_URL": database_url, **overrides})


Systems = Callable[[str], AbstractAsyncContextManager[System]]


@asynccontextmanager
async def system_in(servers: Servers, namespace: str) -> AsyncIterator[System]:
    """The system of a namespace, with a fresh database of the same name; nothing runs in it yet."""
    server = servers.database_url.removesuffix("/orders")
    admin = await asyncpg.connect(f"{server}/postgres")
    try:
        await admin.execute(f'CREATE DATABASE "{namespace}" TEMPLATE orders')
    finally:
        await admin.close()
    settings = settings_for(f"{server}/{namespace}")
    client = await Client.connect(
        servers.temporal_address, namespace=namespace, data_converter=DATA_CONVERTER
    )
    engine = create_engine(settings, application_name=f"tests-{namespace}")
    try:
        yield System(settings=settings, engine=engine, client=client)
    finally:
        await engine.dispose()


@pytest.fixture(scope="session")
def systems(servers: Servers) -> Systems:
    """Make the system of a namespace; at its end, every history that the namespace holds must replay."""

    @asynccontextmanager
    async def make(namespace: str) -> AsyncIterator[System]:
        async with system_in(servers, namespace) as system:
            yield system
            await system.replay_everything()

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
