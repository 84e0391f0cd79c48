"""API keys for tests, and databases that no other test's keys are in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

from api.keys import Scope, make_key
from database.engine import create_engine
from database.keys import StoredKey, add_key
from tests.system import System


@dataclass(frozen=True)
class Holder:
    """Somebody with a key."""

    text: str
    stored: StoredKey

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}

    @property
    def secret(self) -> str:
        return self.text.split("_", 2)[2]


async def a_key(system: System, *scopes: Scope, name: str = "shop") -> Holder:
    """A new key in the system's database, for everything unless scopes are given."""
    text, stored = make_key(name, scopes or Scope)
    await add_key(system.engine, stored)
    return Holder(text, stored)


@asynccontextmanager
async def with_its_own_database(system: System) -> AsyncIterator[System]:
    """The same system with a migrated database in which there is nothing; its workers write to another."""
    url = make_url(system.settings.require_database_url())
    name = f"scratch-{uuid4()}"
    admin = await asyncpg.connect(
        url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    )
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE orders')
        settings = system.settings.model_copy(
            update={"database_url": url.set(database=name).render_as_string(hide_password=False)}
        )
        engine = create_engine(settings, application_name=f"tests-{name}")
        try:
            yield replace(system, settings=settings, engine=engine)
        finally:
            await engine.dispose()
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


def set_to(system: System, **settings: object) -> System:
    """The same system, differently configured."""
    return replace(system, settings=system.settings.model_copy(update=settings))
