"""How a measurement runs as a command: what its exit code says, and one line where it cannot be done."""

import asyncio
import sys
from collections.abc import Coroutine

import aiohttp
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

import process
from benchmarks.progress import Progress
from database.engine import DatabaseUnavailable
from embedded.child import EmbeddedError
from load.calls import CannotLoad
from load.engine import CallFailed

FAILED, CANNOT_MEASURE = 1, 2


class CannotMeasure(Exception):  # noqa: N818 - the name is the fact
    """What is measured does not do what was expected; the message is one line."""


def run(name: str, measuring: Coroutine[None, None, int], progress: Progress) -> int:
    """Measure; the exit code: its own, 1 a call failed, 2 it cannot be done, 130 after SIGTERM or Ctrl-C."""
    try:
        return asyncio.run(process.until_told_to_stop(measuring))
    except CallFailed as failure:
        return _refuse(name, failure, FAILED)
    except (
        CannotMeasure,
        CannotLoad,
        EmbeddedError,
        DatabaseUnavailable,
        SQLAlchemyError,
        RPCError,
        WorkflowFailureError,
        aiohttp.ClientError,
        OSError,
    ) as error:
        return _refuse(name, error, CANNOT_MEASURE)
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.say("interrupted; everything is stopped and removed")
        return process.INTERRUPTED_EXIT_CODE


def _refuse(name: str, error: Exception, code: int) -> int:
    reason = str(error) or type(error).__name__
    sys.stderr.write(f"{name}: {reason.splitlines()[0]}\n")
    return code
