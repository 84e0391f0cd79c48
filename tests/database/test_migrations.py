"""What a migration finds and leaves, beside the tables that every other test uses."""

import asyncio

import asyncpg

from database.migrate import migrate
from tests.conftest import Servers, settings_for
from tests.databases import a_database

NAME = "ix_orders_customer_id_status_created_at_id"
BEFORE_IT_WAS_NEEDED = (
    f"DROP INDEX {NAME}",
    "CREATE INDEX ix_orders_customer_id_created_at_id ON orders (customer_id, created_at, id)",
    "UPDATE alembic_version SET version_num = '0002'",
)


async def test_an_index_that_was_made_beforehand_is_found(servers: Servers) -> None:
    async with a_database(servers.database_url) as url:
        connection = await asyncpg.connect(url)
        try:
            for statement in BEFORE_IT_WAS_NEEDED:
                await connection.execute(statement)
            await connection.execute(
                f"CREATE INDEX CONCURRENTLY {NAME} ON orders (customer_id, status, created_at, id)"
            )
            made = await connection.fetchval(f"SELECT '{NAME}'::regclass::oid")

            # In a thread, because it has an event loop of its own.
            await asyncio.to_thread(migrate, settings_for(url).require_database_url())

            names = await connection.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'orders'")
            kept = await connection.fetchval(f"SELECT '{NAME}'::regclass::oid")
        finally:
            await connection.close()

    assert kept == made
    assert sorted(row["indexname"] for row in names) == [
        "ix_orders_created_at_id",
        NAME,
        "ix_orders_status_created_at_id",
        "pk_orders",
    ]
