import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from chaos.supervised import Process
from embedded.child import Program
from tests.system import eventually


class Sleeper:
    """A supervised program that sleeps, and whose preparation can be held up."""

    def __init__(self, path: Path) -> None:
        self.may_start = asyncio.Event()
        self.is_asked_for = asyncio.Event()
        self._log = path.open("w")
        self.process = Process("sleeper", self._prepare, self._log)

    async def _prepare(self) -> Program:
        self.is_asked_for.set()
        await self.may_start.wait()
        return Program(
            name="sleeper",
            command=(sys.executable, "-c", "import time; time.sleep(60)"),
            environment={},
            folder=Path.cwd(),
            answers=_at_once,
        )

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        keeper = asyncio.create_task(self.process.keep())
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            self._log.close()

    async def runs(self) -> bool:
        return bool(sleepers())


async def _at_once() -> bool:
    return True


def sleepers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [
        it for it in children if "time.sleep(60)" in it.cmdline() or "time.sleep(60)" in str(it.cmdline())
    ]


@pytest.fixture
def sleeper(tmp_path: Path) -> Sleeper:
    return Sleeper(tmp_path / "log")


async def test_a_program_that_ended_is_started_again(sleeper: Sleeper) -> None:
    sleeper.may_start.set()
    async with sleeper.kept():
        await eventually(sleeper.runs)
        sleepers()[0].kill()

        async def ran_again() -> bool:
            return sleeper.process.starts == 2

        await eventually(ran_again)

    assert sleepers() == []


async def test_a_program_that_is_killed_while_it_is_prepared_is_held_down(sleeper: Sleeper) -> None:
    async with sleeper.kept():
        await asyncio.wait_for(sleeper.is_asked_for.wait(), 30)
        await sleeper.process.kill()
        sleeper.may_start.set()
        # The preparation ends now, and only then may it run again.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sleeper.process.starts == 0

        sleeper.process.revive()
        await eventually(sleeper.runs)
        assert sleeper.process.starts == 1
