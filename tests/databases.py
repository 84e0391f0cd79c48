"""Databases of their own, on the server that a test has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

MIGRATED = "orders"
EMPTY = "template1"


@asynccontextmanager
async def a_database(beside: str, like: str = MIGRATED) -> AsyncIterator[str]:
    """The URL of a new database beside the one of a URL, `MIGRATED` or `EMPTY`; gone when the block ends."""
    url = make_url(beside).set(drivername="postgresql")
    name = f"scratch-{uuid4()}"
    admin = await asyncpg.connect(url.set(database="postgres").render_as_string(hide_password=False))
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE {like}')
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()
