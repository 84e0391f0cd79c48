"""What the table of API keys keeps, and what it does not."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.keys import Scope, make_key
from database.engine import DatabaseUnavailable, create_engine
from database.keys import StoredKey, add_key, list_keys, revoke_key
from embedded.child import free_port
from tests.builders import NOON
from tests.conftest import Servers, settings_for
from tests.databases import a_database


@pytest.fixture
async def engine(servers: Servers) -> AsyncIterator[AsyncEngine]:
    """A migrated database without a key."""
    async with a_database(servers.database_url) as url:
        engine = create_engine(settings_for(url), application_name="tests-keys")
        yield engine
        await engine.dispose()


def a_stored_key(key_id: str, minute: int = 0) -> StoredKey:
    return StoredKey(
        id=key_id,
        name="shop",
        digest=bytes(range(32)),
        scopes=("orders:read", "orders:write"),
        created_at=NOON + timedelta(minutes=minute),
    )


async def test_a_key_is_found_as_it_was_stored(engine: AsyncEngine) -> None:
    key = a_stored_key("1")

    await add_key(engine, key)

    assert await list_keys(engine) == [key]


async def test_keys_are_listed_oldest_first_and_those_of_one_moment_by_id(engine: AsyncEngine) -> None:
    for key in (a_stored_key("4", 1), a_stored_key("3", 2), a_stored_key("2", 0), a_stored_key("1", 1)):
        await add_key(engine, key)

    assert [key.id for key in await list_keys(engine)] == ["2", "1", "4", "3"]


async def test_an_id_is_given_once(engine: AsyncEngine) -> None:
    await add_key(engine, a_stored_key("1"))

    with pytest.raises(IntegrityError):
        await add_key(engine, a_stored_key("1"))


async def test_of_the_secret_a_digest_is_kept_and_nothing_else(engine: AsyncEngine) -> None:
    whole, key = make_key("shop", [Scope.READ])
    await add_key(engine, key)

    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM api_keys"))).one()

    secret = whole.removeprefix(f"orders_{key.id}_")
    assert row.digest == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(row)
    assert secret.encode() not in row.digest


async def test_a_revoked_key_stays_and_keeps_the_time_of_its_first_revocation(engine: AsyncEngine) -> None:
    await add_key(engine, a_stored_key("1"))
    await add_key(engine, a_stored_key("2"))

    first = await revoke_key(engine, "1")
    (revoked, other) = await list_keys(engine)
    again = await revoke_key(engine, "1")

    assert (first, again) == (True, True)
    assert revoked.revoked_at is not None
    assert other.revoked_at is None
    assert await list_keys(engine) == [revoked, other]


async def test_revoking_an_unknown_key_changes_nothing_and_says_so(engine: AsyncEngine) -> None:
    await add_key(engine, a_stored_key("1"))

    assert await revoke_key(engine, "2") is False
    assert await list_keys(engine) == [a_stored_key("1")]


async def test_an_outage_is_told_from_a_mistake() -> None:
    engine = create_engine(
        settings_for(f"postgresql://orders@127.0.0.1:{free_port()}/orders"), application_name="tests-keys"
    )

    for asked in (list_keys(engine), add_key(engine, a_stored_key("1")), revoke_key(engine, "1")):
        with pytest.raises(DatabaseUnavailable):
            await asked
