"""Databases of their own on the one PostgreSQL server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from database.engine import create_engine
from settings import Settings
from tests.conftest import Servers, settings_for

Databases = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Databases:
    """Make a database like a template, `orders` (migrated) or `template1` (empty); its URL."""
    server = servers.database_url.removesuffix("/orders")

    @asynccontextmanager
    async def make(template: str) -> AsyncIterator[str]:
        name = f"scratch-{uuid4()}"
        admin = await asyncpg.connect(f"{server}/postgres")
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}')
            yield f"{server}/{name}"
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        finally:
            await admin.close()

    return make


@pytest.fixture(scope="module")
async def settings(databases: Databases) -> AsyncIterator[Settings]:
    """Settings for a migrated database that only this module's tests write to."""
    async with databases("orders") as url:
        yield settings_for(url)


@pytest.fixture(scope="module")
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The application's own pool on that database."""
    engine = create_engine(settings, application_name="tests-database")
    yield engine
    await engine.dispose()
