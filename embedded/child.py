"""A program as a child process: started, read line by line, stopped, and killed if it does not stop."""

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Show = Callable[[str], None]

LONGEST_LINE = 64 * 1024


class EmbeddedError(Exception):
    """A server cannot be found, started or kept; the message is one line that a person can act on."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to start a program, to know that it answers, and to stop it. Patience is in seconds."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    answers: Callable[[], Awaitable[bool]]
    account: tuple[int, int] | None = None  # user id and group id, where it is not ours
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 10.0


class Child:
    """A process of a program; `start` makes it."""

    def __init__(
        self, program: Program, process: asyncio.subprocess.Process, output: int, show: Show
    ) -> None:
        self.program = program
        self.pid = process.pid
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=3)
        self._reading = asyncio.create_task(self._read(output, show))

    @classmethod
    async def start(cls, program: Program, show: Show = lambda _line: None) -> Self:
        """Start the program in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        # Our own pipe: with asyncio's, waiting for the end would wait for grandchildren that hold it, too.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=program.environment,
                cwd=program.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                user=program.account and program.account[0],
                group=program.account and program.account[1],
                extra_groups=[] if program.account else None,
            )
        except OSError as error:
            os.close(reading)
            raise EmbeddedError(f"cannot run {program.command[0]}: {error.strerror}") from None
        finally:
            os.close(writing)
        return cls(program, process, reading, show)

    @property
    def ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.returncode is not None

    @property
    def last_words(self) -> str:
        """The latest output, on one line."""
        return " / ".join(self._last_lines) or "it said nothing"

    async def wait(self) -> int:
        """Wait until it has ended and is read to the end; answer its exit code (negative: the signal)."""
        code = await self._process.wait()
        await asyncio.wait({self._reading}, timeout=1)  # a grandchild may hold the pipe for longer
        self._reading.cancel()
        return code

    async def stop(self) -> None:
        """Ask the process to stop, and kill it when the program's patience is over."""
        self._signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(self.wait(), self.program.patience)
        except TimeoutError:
            self.kill()
            await asyncio.wait_for(self.wait(), self.program.patience)

    def kill(self) -> None:
        """Kill this process, at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _read(self, output: int, show: Show) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
        )
        with contextlib.closing(transport):
            async for line in _lines(reader):
                self._last_lines.append(line)
                show(line)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """Every line that is not blank; one that does not end is cut, where `readline` would raise."""
    rest = b""
    while chunk := await reader.read(LONGEST_LINE):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        for line in whole:
            if text := line.decode(errors="replace").rstrip():
                yield text
    if text := rest.decode(errors="replace").rstrip():
        yield text


async def until_it_answers(program: Program, child: Child | None = None, *, patience: float = 60.0) -> None:
    """Wait until the program answers.

    Raises:
        EmbeddedError: it did not within `patience` seconds, or the child has ended.
    """
    try:
        async with asyncio.timeout(patience):
            while not await program.answers():
                if child and child.ended:
                    raise EmbeddedError(f"{program.name} did not start: {child.last_words}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise EmbeddedError(f"{program.name} did not answer within {patience:g} seconds") from None


@contextlib.asynccontextmanager
async def running(program: Program) -> AsyncIterator[Child]:
    """Run the program, from its first answer until the block ends."""
    child = await Child.start(program)
    try:
        await until_it_answers(program, child)
        yield child
    finally:
        await child.stop()


def free_port() -> int:
    """Find a TCP port of 127.0.0.1 that the system will offer to nobody else for a minute.

    The closed connection leaves the port in TIME_WAIT: the system skips it when it picks a port itself, and
    a server that asks for it by number (with SO_REUSEADDR, as ours do) gets it.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            return port
