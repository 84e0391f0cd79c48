"""The whole system by one command: two servers, the worker and the API, kept running until Ctrl-C."""

import asyncio
import contextlib
import http.client
import os
import shlex
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

from temporalio.envconfig import ClientConfigProfile

from embedded.child import Child, EmbeddedError, Program, until_it_answers
from embedded.postgres import prepare_postgres
from embedded.record import claim
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT, Settings

ATTEMPTS = 5  # so many starts in a row that lasted no longer than ...
QUICK = 10.0  # ... this, and the stack gives up
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how this machine reaches an API that is open to all
COLOURS = {"postgres": 34, "temporal": 35, "worker": 33, "api": 36}


class Stack:
    """Starts what the environment does not provide, watches it, and stops it in order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._profile = _temporal_profile()
        self._data_dir = settings.data_dir.resolve()
        self._api = LOOPBACK.get(settings.api_host, settings.api_host), settings.api_port
        self._ui_url = settings.temporal_ui_url
        self._environment = {**os.environ, "ORDERS_LOG_FORMAT": "console"}
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._children: dict[str, Child] = {}
        self._asked = self._stopping = self._unread = False

    async def run(self) -> None:
        """Run everything until SIGINT or SIGTERM; a second one does not wait.

        Raises:
            EmbeddedError: something cannot be started, or does not stay up.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with claim(self._data_dir) as self._record:
            if self._record.ended:
                self._say(f"ended {self._record.ended} processes that a killed stack had left running")
            self._check_ports()
            self._serving = asyncio.create_task(self._serve())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores it
                    asyncio.get_running_loop().add_signal_handler(number, self._asked_to_stop)
            try:
                await self._serving
            except asyncio.CancelledError:
                self._say("stopping")
            except BaseExceptionGroup as group:
                raise _first_reason(group) from None
            finally:
                self._stopping = True
                for child in reversed(self._children.values()):
                    await child.stop()
            self._say("stopped")

    async def _serve(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as self._keepers:
            async with asyncio.TaskGroup() as servers:
                servers.create_task(self._open_postgres())
                servers.create_task(self._open_temporal())
            async with asyncio.TaskGroup() as preparations:
                preparations.create_task(self._complete(self._python("migrate", "cli", "migrate")))
                preparations.create_task(self._complete(self._python("schedule", "schedule")))
            async with asyncio.TaskGroup() as ours:
                ours.create_task(self._keep_running(self._python("worker", "worker")))
                ours.create_task(self._keep_running(self._python("api", "api")))
            self._welcome(time.monotonic() - began)

    async def _open_postgres(self) -> None:
        if self._settings.database_url:
            self._say("PostgreSQL is the one of DATABASE_URL")
            return
        postgres = await asyncio.to_thread(prepare_postgres, self._data_dir, self._settings.postgres_port)
        if not postgres.folder.is_relative_to(self._data_dir):
            self._say(f"PostgreSQL keeps its data in {postgres.folder}, where its user can enter")
        await self._keep_running(postgres.program)
        self._environment["DATABASE_URL"] = postgres.url

    async def _open_temporal(self) -> None:
        if self._profile.address:
            self._say(f"Temporal is the configured one, {self._profile.address}")
            return
        namespace = self._profile.namespace or "default"
        temporal = prepare_temporal(
            self._settings.temporal_port,
            search_attributes=SEARCH_ATTRIBUTES,
            ui_port=self._settings.temporal_ui_port,
            database=self._data_dir / "temporal.sqlite",
            namespace=namespace,
        )
        await self._keep_running(temporal.program)
        self._ui_url = f"http://127.0.0.1:{self._settings.temporal_ui_port}"
        self._environment["ORDERS_TEMPORAL_UI_URL"] = self._ui_url
        self._environment |= {"TEMPORAL_ADDRESS": temporal.address, "TEMPORAL_NAMESPACE": namespace}

    def _python(self, name: str, *module: str) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-m", *module),
            environment=self._environment,
            folder=ROOT,
            answers=partial(api_is_ready, *self._api) if name == "api" else _at_once,
            patience=self._settings.worker_shutdown_grace + 5,
        )

    async def _complete(self, program: Program) -> None:
        """Run the program to its end."""
        child = await self._start(program)
        if await child.wait() != 0:
            raise EmbeddedError(f"{program.name} failed: {child.last_words}")

    async def _keep_running(self, program: Program) -> None:
        self._keepers.create_task(self._keep(program))
        await until_it_answers(program)

    async def _keep(self, program: Program) -> None:
        """Start the program again whenever it ends, until it does nothing else."""
        failures = 0
        while True:
            began = time.monotonic()
            child = await self._start(program)
            code = await child.wait()
            failures = failures + 1 if time.monotonic() - began < QUICK else 1
            ended = f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            if failures == ATTEMPTS:
                raise EmbeddedError(f"{program.name} {ended}, {ATTEMPTS} times in a row: {child.last_words}")
            pause = 0.25 * 2 ** (failures - 1)
            self._say(f"{program.name} {ended}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _start(self, program: Program) -> Child:
        child = await Child.start(program, partial(self._show, program.name))
        self._children[program.name] = child
        self._record.note(child)
        return child

    def _check_ports(self) -> None:
        """Name the port that cannot be had, and its setting, before anything is started."""
        settings = self._settings
        wanted = [("ORDERS_API_PORT", settings.api_host, settings.api_port)]
        if not settings.database_url:
            wanted += [("ORDERS_POSTGRES_PORT", "127.0.0.1", settings.postgres_port)]
        if not self._profile.address:
            wanted += [("ORDERS_TEMPORAL_PORT", "127.0.0.1", settings.temporal_port)]
            wanted += [("ORDERS_TEMPORAL_UI_PORT", "127.0.0.1", settings.temporal_ui_port)]
        with contextlib.ExitStack() as held:
            for setting, host, port in wanted:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                try:
                    held.enter_context(socket.create_server((host, port), family=family))
                except OSError as error:
                    reason = str(error.strerror).partition(" (")[0]
                    raise EmbeddedError(f"port {port} of {host}: {reason}; {setting} sets another") from None

    def _asked_to_stop(self) -> None:
        if self._asked:
            for child in self._children.values():
                child.kill()
        self._asked = True
        self._serving.cancel()

    def _welcome(self, seconds: float) -> None:
        host, port = self._api
        api = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._say(f"ready after {seconds:.1f} s")
        self._say(f"  API              {api}")
        self._say(f"  Documentation    {api}/docs")
        self._say(f"  Temporal Web UI  {self._ui_url}")
        self._say(f"  Data folder      {self._data_dir}")
        self._say(f"  Other terminals  . {self._write_environment()}")
        self._say("  Ctrl-C stops everything")

    def _write_environment(self) -> Path:
        """Write what another terminal needs to reach this stack, for a shell to source; it has a password."""
        names = ("DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "ORDERS_TEMPORAL_UI_URL")
        known = {name: self._environment[name] for name in names if name in self._environment}
        host, port = self._api
        known |= {"ORDERS_API_HOST": host, "ORDERS_API_PORT": str(port)}
        path = self._data_dir / "env"
        path.touch(mode=0o600)
        path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in known.items()))
        return path

    def _say(self, line: str) -> None:
        self._show("orders", line)

    def _show(self, name: str, line: str) -> None:
        """Write one line of the common log."""
        # Temporal, when it stops, reports each poll that this cuts.
        if self._unread or (self._stopping and name == "temporal"):
            return
        label = f"{name:<8} │"
        if self._coloured:
            label = f"\x1b[{COLOURS.get(name, 32)}m{label}\x1b[0m"
        try:
            sys.stdout.buffer.write(f"{label} {line}\n".encode())
            sys.stdout.buffer.flush()
        except OSError:  # whoever read the log has gone
            self._unread = True
            self._serving.cancel()


def _temporal_profile() -> ClientConfigProfile:
    try:
        return ClientConfigProfile.load()
    except RuntimeError as error:
        raise EmbeddedError(f"Temporal's configuration cannot be read: {error}") from None


async def api_is_ready(host: str, port: int) -> bool:
    """Whether the API there, and all that it depends on, answers."""

    def ask() -> bool:
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK

    try:
        return await asyncio.to_thread(ask)
    except (OSError, http.client.HTTPException):
        return False


async def _at_once() -> bool:
    return True


def _first_reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    reason: BaseException = group
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    return reason
