"""The API's keys as PostgreSQL keeps them: never the secret, only its digest."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from database.engine import connected
from database.tables import api_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key: who holds it, what it allows, and the digest of its secret."""

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None


async def add_key(engine: AsyncEngine, key: StoredKey) -> None:
    """Store a new key."""
    row = {
        "id": key.id,
        "name": key.name,
        "digest": key.digest,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
    async with connected(engine) as connection:
        await connection.execute(insert(api_keys), row)


async def list_keys(engine: AsyncEngine) -> list[StoredKey]:
    """Every key that there has ever been, oldest first."""
    async with connected(engine) as connection:
        rows = await connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
        return [
            StoredKey(
                id=row.id,
                name=row.name,
                digest=row.digest,
                scopes=tuple(row.scopes),
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]


async def revoke_key(engine: AsyncEngine, key_id: str) -> bool:
    """Revoke a key from now on, or leave it revoked; whether there is such a key."""
    statement = (
        update(api_keys)
        .where(api_keys.c.id == key_id)
        .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
    )
    async with connected(engine) as connection:
        return bool((await connection.execute(statement)).rowcount)
