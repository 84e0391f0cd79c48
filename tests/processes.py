"""Our programs as people run them: a process with an environment, a log and an exit code."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from embedded.child import Child, Program
from settings import ROOT
from tests.system import PATIENCE_SECONDS, System, eventually

# The `orders` command as it is, but for how long its doctor waits before it looks again.
HASTY_ORDERS = (
    "-c",
    """
from cli import main
from doctor.examination import Doctor
Doctor.__init__.__kwdefaults__["pauses"] = (0.2, 0.5, 1.0)
main()
""",
)


@dataclass(frozen=True)
class Run:
    """A program that was started, and every line that it has said so far, on either stream."""

    child: Child
    log: list[str]

    @property
    def identity(self) -> str:
        """How Temporal knows the process."""
        return f"{self.child.pid}@{socket.gethostname()}"

    def send(self, number: signal.Signals) -> None:
        os.kill(self.child.pid, number)

    async def until_said(self, words: str) -> None:
        """Wait for a line with the words."""

        async def is_said() -> bool:
            if self.child.ended:
                await self.child.wait()
                assert words in "\n".join(self.log)
            return any(words in line for line in self.log)

        await eventually(is_said)

    async def until_ended(self) -> int:
        """Wait for its end; the exit code."""
        return await asyncio.wait_for(self.child.wait(), PATIENCE_SECONDS)

    async def asked_to_stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and wait until it has; the exit code."""
        self.send(number)
        return await self.until_ended()


@asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[Run]:
    """Python with the arguments, until the block ends. The developer's own settings do not reach it."""
    log: list[str] = []

    def show(line: str) -> None:
        log.append(line)
        sys.stdout.write(f"{line}\n")  # pytest shows it when the test fails

    clean = {
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        "PYTHON_DOTENV_DISABLED": "1",
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }
    program = Program(
        name=" ".join(arguments),
        command=(sys.executable, *arguments),
        environment=clean | environment,
        folder=ROOT,
        answers=_at_once,
    )
    child = await Child.start(program, show)
    try:
        yield Run(child, log)
    finally:
        await child.stop()


async def run_to_its_end(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Python with the arguments: its exit code, and what it said."""
    async with started(*arguments, **environment) as run:
        return await run.until_ended(), run.log


def servers_of(system: System) -> dict[str, str]:
    """The environment of a process that belongs to the system."""
    return {
        "DATABASE_URL": system.settings.require_database_url(),
        "TEMPORAL_ADDRESS": system.client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": system.client.namespace,
    }


async def _at_once() -> bool:
    return True
