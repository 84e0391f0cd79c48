"""The connection pool that each process has one of, and the one error for when it cannot serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from settings import Settings

# The classes of SQLSTATE that mean "not now": connection, resources, operator intervention.
_OUTAGES = ("08", "53", "57")
_UNDEFINED_TABLE = "42P01"


class DatabaseUnavailable(Exception):  # noqa: N818 - the name is the fact
    """PostgreSQL is away, starting, stopping or full. The same call may work later."""

    def __init__(self, cause: BaseException) -> None:
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        super().__init__(f"PostgreSQL is unavailable: {reason}")


def create_engine(settings: Settings, application_name: str) -> AsyncEngine:
    """An engine whose waits are all bounded: for a connection, for the pool, for a statement."""
    engine = create_async_engine(
        settings.require_database_url(),
        # No overflow: those connections are opened and closed again with every use, which costs PostgreSQL
        # more than what they are used for.
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout,
        # An error's text goes to logs and to Temporal; what the statement carried does not.
        hide_parameters=True,
        # Every transaction of ours is one statement or asks for more by name.
        isolation_level="AUTOCOMMIT",
        connect_args={
            "timeout": settings.database_pool_timeout,
            "command_timeout": settings.database_statement_timeout,
            "server_settings": {
                "application_name": application_name,
                # Our statements are short; compiling them costs more than it saves.
                "jit": "off",
                # Solid-state disks and a warm cache: PostgreSQL's default makes it sort a large table
                # rather than walk an index from one end.
                "random_page_cost": "1.1",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_a_lost_connection)
    return engine


def _refuse_a_lost_connection(connection: DBAPIConnection, *_: object) -> None:
    """Have a connection that PostgreSQL dropped replaced before a request can trip over it.

    The pool's own way is a ping at each use (docs/decisions/0011 has its price); asyncpg knows by itself.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def is_unmigrated(error: DBAPIError) -> bool:
    """Whether a statement failed because its table is not there yet."""
    return getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for the block.

    Raises:
        DatabaseUnavailable: there is none, or it broke in the block.
    """
    try:
        async with engine.connect() as connection:
            yield connection
    except (OSError, PoolTimeoutError) as outage:
        raise DatabaseUnavailable(outage) from outage
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state.startswith(_OUTAGES):
            raise DatabaseUnavailable(error) from error
        raise
