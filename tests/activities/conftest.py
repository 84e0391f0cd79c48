"""A system where no worker runs, so that what an activity sends to a workflow stays to be counted."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from tests.conftest import Systems
from tests.system import System


@pytest.fixture(scope="session")
async def idle_system(systems: Systems) -> AsyncIterator[System]:
    async with systems("activities") as system:
        yield system


@pytest.fixture
async def idle(idle_system: System) -> System:
    """The same for every test, with empty tables."""
    async with idle_system.engine.connect() as connection:
        await connection.execute(text("TRUNCATE orders CASCADE"))
    return idle_system
