"""The connection pool that each process has one of."""

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from settings import Settings

UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
"""What a statement raises when PostgreSQL is away, is starting, or has no connection to spare."""


def create_engine(settings: Settings, application_name: str) -> AsyncEngine:
    """An engine whose waits are all bounded: for a connection, for the pool, for a statement."""
    return create_async_engine(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=settings.database_pool_timeout,
        # An error's text goes to logs and to Temporal; what the statement carried does not.
        hide_parameters=True,
        # A connection that PostgreSQL dropped is replaced before a request can trip over it.
        pool_pre_ping=True,
        # Every transaction of ours is one statement or asks for more by name.
        isolation_level="AUTOCOMMIT",
        connect_args={
            "timeout": settings.database_pool_timeout,
            "command_timeout": settings.database_statement_timeout,
            "server_settings": {
                "application_name": application_name,
                # Our statements are short; compiling them costs more than it saves.
                "jit": "off",
            },
        },
    )
