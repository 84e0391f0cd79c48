"""The whole system as processes of its own programs, every line between them a proxy's."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from chaos.mishaps import SWITCH
from chaos.proxy import Line
from chaos.supervised import Process
from embedded.child import Child, EmbeddedError, Program, free_port, until_it_answers
from embedded.postgres import prepare_postgres
from embedded.stack import api_is_ready
from embedded.temporal import Temporal, prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT

PROGRAMS: dict[str, tuple[str, ...]] = {
    "worker-1": ("chaos.mishaps", "worker", "--serve", "orders"),
    "worker-2": ("worker", "--serve", "orders"),
    "promotion": ("chaos.mishaps", "worker", "--serve", "promotion"),
    "api-1": ("api",),
    "api-2": ("api",),
}
APIS = ("api-1", "api-2")
SERVERS = ("postgres", "temporal")

SETTINGS = {
    "ORDERS_ANSWER_DEADLINE": "3",
    # Five processes share a PostgreSQL that takes 100 connections.
    "ORDERS_DATABASE_POOL_SIZE": "12",
    "ORDERS_DATABASE_STATEMENT_TIMEOUT": "5",
    "ORDERS_PROMOTION_INTERVAL": "4",
    "ORDERS_RATE_LIMIT": "100000000",
    "LOG_LEVEL": "WARNING",
}
# So that an order that is told much continues as new.
EVENTS_IN_A_RUN = 60

START_PATIENCE = 90.0


class Stack:
    """The processes and the lines between them; `running` makes one.

    `database_url` and `temporal_address` are the servers themselves, `api_urls` lead through proxies.
    """

    def __init__(self, data: Path, logs: Path, mutant: Sequence[str]) -> None:
        self._data = data
        self._logs = logs
        self._mutant = mutant
        self._ports = {name: free_port() for name in (*SERVERS, *APIS)}
        self.processes: dict[str, Process] = {}
        self.lines: dict[str, Line] = {}
        self._line_ports: dict[str, int] = {}
        self.database_url = ""
        self.temporal_address = f"127.0.0.1:{self._ports['temporal']}"

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, data: Path, logs: Path, mutant: str | None = None) -> AsyncIterator["Stack"]:
        """Run everything until the block ends, with its data and its logs in two existing folders.

        Raises:
            EmbeddedError: something does not start.
        """
        stack = cls(data, logs, ("chaos.mutants", mutant) if mutant else ())
        async with contextlib.AsyncExitStack() as opened:
            try:
                await stack._start(opened)
                yield stack
            finally:
                stack._close_lines()

    @property
    def api_urls(self) -> list[str]:
        """Where clients reach the APIs."""
        return [f"http://127.0.0.1:{self._line_ports[f'clients to {name}']}" for name in APIS]

    async def kill(self, name: str) -> None:
        """Kill a process and hold it down."""
        await self.processes[name].kill()

    async def revive(self, name: str) -> None:
        """Let a killed process start again."""
        self.processes[name].revive()

    async def stop(self, name: str) -> None:
        """Stop a process where it is (SIGSTOP)."""
        self.processes[name].send(signal.SIGSTOP)

    async def go_on(self, name: str) -> None:
        """Let a stopped process go on (SIGCONT)."""
        self.processes[name].send(signal.SIGCONT)

    async def switch(self, name: str, word: str = "") -> None:
        """Say what goes wrong after the commits of an armed worker; see `chaos.mishaps`."""
        self._switch_of(name).write_text(word)

    async def mend(self, name: str) -> None:
        """Let a line carry everything again."""
        self.lines[name].mend()

    async def heal(self) -> None:
        """Lift whatever may still be on, and wait until the system says that it is ready.

        Raises:
            EmbeddedError: it does not become so.
        """
        for name in PROGRAMS:
            await self.switch(name)
        for line in self.lines.values():
            line.mend()
        for process in self.processes.values():
            process.send(signal.SIGCONT)
            process.revive()
        await self._until_ready()

    async def _until_ready(self) -> None:
        for name in APIS:
            try:
                await until_it_answers(self._api_program(name), patience=START_PATIENCE)
            except EmbeddedError as error:
                raise EmbeddedError(f"{error}: {self.processes[name].last_words}") from None

    async def _start(self, opened: contextlib.AsyncExitStack) -> None:
        postgres = await asyncio.to_thread(prepare_postgres, self._data, self._ports["postgres"])
        self.database_url = postgres.url

        async def postgres_again() -> Program:
            # Anew each time, because this forgets the process id that a killed server has left.
            return (await asyncio.to_thread(prepare_postgres, self._data, self._ports["postgres"])).program

        await self._open_lines(opened)
        await self._keep(opened, "postgres", postgres_again)
        temporal = self._temporal().program
        await self._keep(opened, "temporal", _always(temporal))
        await until_it_answers(postgres.program, patience=START_PATIENCE)
        await until_it_answers(temporal, patience=START_PATIENCE)
        for arguments in (("cli", "migrate"), ("cli", "schedule")):
            await self._run_to_its_end(arguments)
        for name in PROGRAMS:
            program = self._api_program(name) if name in APIS else self._program(name)
            await self._keep(opened, name, _always(program))
        await self._until_ready()

    async def _keep(
        self, opened: contextlib.AsyncExitStack, name: str, prepare: Callable[[], Awaitable[Program]]
    ) -> None:
        log = opened.enter_context((self._logs / f"{name}.log").open("a", encoding="utf-8"))
        process = self.processes[name] = Process(name, prepare, log)
        keeper = asyncio.create_task(process.keep())

        async def end() -> None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

        opened.push_async_callback(end)

    def _temporal(self) -> Temporal:
        return prepare_temporal(
            self._ports["temporal"],
            search_attributes=SEARCH_ATTRIBUTES,
            database=self._data / "temporal.sqlite",
            options=("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_IN_A_RUN}"),
        )

    async def _open_lines(self, opened: contextlib.AsyncExitStack) -> None:
        pairs = [(process, server) for process in PROGRAMS for server in SERVERS]
        for source, target in [*pairs, *(("clients", api) for api in APIS)]:
            name = f"{source} to {target}"
            self.lines[name] = Line("127.0.0.1", self._ports[target])
            self._line_ports[name] = free_port()
            server = await self.lines[name].listen(self._line_ports[name])
            opened.callback(server.close)

    def _close_lines(self) -> None:
        for line in self.lines.values():
            line.cut()

    def _switch_of(self, name: str) -> Path:
        return self._data / f"{name}.switch"

    def _environment(self, name: str) -> dict[str, str]:
        url, address = self.database_url, self.temporal_address
        if name in PROGRAMS:
            port = self._line_ports[f"{name} to postgres"]
            url = url.replace(f":{self._ports['postgres']}/", f":{port}/")
            address = f"127.0.0.1:{self._line_ports[f'{name} to temporal']}"
        return {
            "PATH": os.environ["PATH"],
            "PYTHON_DOTENV_DISABLED": "1",
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_NAMESPACE": "default",
            "DATABASE_URL": url,
            SWITCH: str(self._switch_of(name)),
            **SETTINGS,
        }

    def _program(self, name: str) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-m", *self._mutant, *PROGRAMS[name]),
            environment=self._environment(name),
            folder=ROOT,
            answers=_at_once,
        )

    def _api_program(self, name: str) -> Program:
        program = self._program(name)
        port = self._ports[name]

        async def answers() -> bool:
            return await api_is_ready("127.0.0.1", port)

        return replace(
            program, environment={**program.environment, "ORDERS_API_PORT": str(port)}, answers=answers
        )

    async def _run_to_its_end(self, arguments: tuple[str, ...]) -> None:
        program = Program(
            name=" ".join(arguments),
            command=(sys.executable, "-m", *arguments),
            environment=self._environment("setup"),
            folder=ROOT,
            answers=_at_once,
        )
        child = await Child.start(program)
        if await child.wait() != 0:
            raise EmbeddedError(f"{program.name} failed: {child.last_words}")


def _always(program: Program) -> Callable[[], Awaitable[Program]]:
    async def prepare() -> Program:
        return program

    return prepare


async def _at_once() -> bool:
    return True
