"""A program that is kept running, and that can be killed, held down, stopped and let go on."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TextIO

import psutil

from embedded.child import Child, Program

RESTART_SECONDS = 0.3


@dataclass
class Process:
    """A program that is kept running, as a supervisor would, except while it is held down."""

    name: str
    prepare: Callable[[], Awaitable[Program]]
    log: TextIO
    _may_run: asyncio.Event = field(default_factory=asyncio.Event)
    _child: Child | None = None
    starts: int = 0

    async def keep(self) -> None:
        """Start the program whenever it has ended, until cancelled; end it then."""
        self._may_run.set()
        try:
            while True:
                await self._may_run.wait()
                program = await self.prepare()
                if not self._may_run.is_set():
                    continue
                self.starts += 1
                self._child = await Child.start(program, self._write)
                if not self._may_run.is_set():  # killed while it was being started
                    await self.kill()
                await self._child.wait()
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            # The system has been judged by now, so nobody waits for it to end well.
            await self.kill()

    async def kill(self) -> None:
        """Kill it with all its children, at once, and hold it down."""
        self._may_run.clear()
        family = self._family()
        for each in family:
            _send(each, signal.SIGKILL)
        # PostgreSQL's children hold its memory until they are gone; in a container, nobody may bury them.
        while any(map(_lives, family)):  # noqa: ASYNC110 - processes set no events of ours
            await asyncio.sleep(0.02)

    @property
    def last_words(self) -> str:
        """The latest output of the process that ran last."""
        return self._child.last_words if self._child else "it never ran"

    def revive(self) -> None:
        """Let it run again."""
        self._may_run.set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and all its children."""
        for each in self._family():
            _send(each, number)

    def _family(self) -> list[psutil.Process]:
        if self._child is None or self._child.ended:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._child.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def _write(self, line: str) -> None:
        self.log.write(f"{line}\n")
        self.log.flush()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False
