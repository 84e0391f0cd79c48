"""`orders doctor`: the doctor as a command, and what its exit code says."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from connection import connect
from database.engine import DatabaseUnavailable, create_engine
from doctor.examination import Doctor
from doctor.report import Bar, Lines, bars, tell, tell_as_json
from doctor.revival import CannotRevive, revive
from doctor.temporal import CouldNotLook
from settings import ConfigurationError, Settings

ALL_WELL, FINDINGS, COULD_NOT_LOOK = 0, 1, 2


def run_doctor(settings: Settings, *, deep: bool, repair: bool, as_json: bool) -> int:
    """Examine every order and tell: 0 when all is well, or was mended, 1 when something is not."""
    return _answered(_examine(settings, deep=deep, repair=repair, as_json=as_json))


def run_revival(settings: Settings, order_id: UUID) -> int:
    """Give the order a workflow again: 0 when it has one now, 1 when this is not for it."""
    return _answered(_revive(settings, order_id))


def _answered(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of the work; 2, and one line, when it could not be done."""
    try:
        return asyncio.run(work)
    except (ConfigurationError, CouldNotLook, DatabaseUnavailable, OSError) as problem:
        reason = str(problem) or type(problem).__name__
    except SQLAlchemyError as error:
        reason = f"DATABASE_URL: {error}"
    except RPCError as error:
        reason = f"Temporal: {error.message}"
    sys.stderr.write(f"orders: {reason.splitlines()[0]}\n")
    return COULD_NOT_LOOK


async def _examine(settings: Settings, *, deep: bool, repair: bool, as_json: bool) -> int:
    async with _servers(settings) as (engine, client):
        doctor = Doctor(engine=engine, client=client, deep=deep, repair=repair)
        terminal = Console(stderr=True)
        if terminal.is_terminal:
            with bars(terminal) as shown:
                examination = await doctor.examine(Bar(shown))
        else:
            examination = await doctor.examine(Lines())
    (tell_as_json if as_json else tell)(examination)
    return FINDINGS if examination.left else ALL_WELL


async def _revive(settings: Settings, order_id: UUID) -> int:
    async with _servers(settings) as (engine, client):
        try:
            status = await revive(engine, client, order_id)
        except CannotRevive as refusal:
            sys.stderr.write(f"orders: {refusal}\n")
            return FINDINGS
    sys.stdout.write(f"Order {order_id} goes on as {status}\n")
    return ALL_WELL


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[tuple[AsyncEngine, Client]]:
    engine = create_engine(settings, application_name="doctor")
    try:
        yield engine, await connect()
    finally:
        await engine.dispose()
