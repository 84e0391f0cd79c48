"""A worker whose activities go wrong after their commit: `python -m chaos.mishaps worker --serve orders`.

It runs the program that it is given, unchanged but for this: after it has written an order or signalled
one, the file that `CHAOS_SWITCH` names decides what happens to the activity.

    (nothing)  nothing
    fail       the activity fails, so that it is tried again though it has taken effect
    die        the process kills itself, so that Temporal does not hear of it
    repeat     its work is done once more, seconds later, as by an attempt that everybody has given up

All three are what Temporal allows: an activity is carried out at least once.
"""

import asyncio
import logging
import os
import runpy
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from activities.promotion import PromotionActivities
from database import projection
from orders.order import OrderKey, OrderRecord

SWITCH = "CHAOS_SWITCH"
LATER_SECONDS = 1.5

logger = logging.getLogger("chaos")


def arm(switch: Path) -> None:
    """Make every activity look at the switch once it has done its work."""
    write, promote = projection.project, PromotionActivities._promote  # noqa: SLF001
    late: set[asyncio.Task[None]] = set()

    async def after(again: Callable[[], Awaitable[object]]) -> None:
        match _word(switch):
            case "fail":
                raise ApplicationError("chaos: failed after the commit")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "repeat":
                task = asyncio.create_task(_later(again))
                late.add(task)
                task.add_done_callback(late.discard)

    async def project(engine: AsyncEngine, record: OrderRecord) -> None:
        await write(engine, record)
        await after(lambda: write(engine, record))

    async def promote_one(self: PromotionActivities, key: OrderKey) -> bool:
        signalled = await promote(self, key)
        await after(lambda: promote(self, key))
        return signalled

    projection.project = project
    PromotionActivities._promote = promote_one  # type: ignore[method-assign]  # noqa: SLF001 - reaches in


def _word(switch: Path) -> str:
    return switch.read_text() if switch.exists() else ""


async def _later(again: Callable[[], Awaitable[object]]) -> None:
    await asyncio.sleep(LATER_SECONDS)
    try:
        await again()
    except Exception:  # a late attempt has nobody to tell; that it failed is as good as that it never was
        logger.exception("a late attempt failed")


def main() -> None:
    """Arm, and become the program."""
    arm(Path(os.environ[SWITCH]))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
