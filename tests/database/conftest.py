"""Databases of their own on the one PostgreSQL server."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from database.engine import create_engine
from settings import Settings
from tests.conftest import Servers, settings_for
from tests.databases import a_database


@pytest.fixture(scope="module")
async def settings(servers: Servers) -> AsyncIterator[Settings]:
    """Settings for a migrated database that only this module's tests write to."""
    async with a_database(servers.database_url) as url:
        yield settings_for(url)


@pytest.fixture(scope="module")
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The application's own pool on that database."""
    engine = create_engine(settings, application_name="tests-database")
    yield engine
    await engine.dispose()
