"""API keys for tests, and databases that no other test's keys are in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from api.keys import Scope, make_key
from database.engine import create_engine
from database.keys import StoredKey, add_key
from tests.conftest import settings_for
from tests.databases import a_database
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
    async with a_database(system.settings.require_database_url()) as url:
        settings = settings_for(url)
        settings = system.settings.model_copy(update={"database_url": settings.database_url})
        engine = create_engine(settings, application_name="tests-scratch")
        try:
            yield replace(system, settings=settings, engine=engine)
        finally:
            await engine.dispose()


def set_to(system: System, **settings: object) -> System:
    """The same system, differently configured."""
    return replace(system, settings=system.settings.model_copy(update=settings))
