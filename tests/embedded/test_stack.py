"""`orders dev` as its users have it: a process with an environment, a log, an API and an exit code."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from embedded.child import Child, Program, free_port, running, until_it_answers
from embedded.postgres import prepare_postgres
from embedded.stack import api_is_ready
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT

CHILDREN = ("worker", "api", "temporal", "postgres")


class Dev:
    """One `orders dev` and what it needs; `start` may be called again after it has ended."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.api_port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")},
            "DATABASE_URL": "",
            "TEMPORAL_ADDRESS": "",
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "ORDERS_DATA_DIR": str(data_dir),
            "ORDERS_API_PORT": str(self.api_port),
            "ORDERS_POSTGRES_PORT": str(free_port()),
            "ORDERS_TEMPORAL_PORT": str(free_port()),
            "ORDERS_TEMPORAL_UI_PORT": str(free_port()),
        }
        self.log: list[str] = []

    def program(self, **environment: str) -> Program:
        return Program(
            name="orders dev",
            command=(sys.executable, "-m", "cli", "dev"),
            environment={**self.environment, **environment},
            folder=ROOT,
            answers=partial(api_is_ready, "127.0.0.1", self.api_port),
            patience=60,
        )

    @asynccontextmanager
    async def ready(self, **environment: str) -> AsyncIterator[Child]:
        """Run it, from its welcome until the block ends."""
        self.log.clear()
        child = await Child.start(self.program(**environment), self.show)
        try:
            await self.until(lambda: child.ended or "Ctrl-C stops everything" in str(self.log))
            assert not child.ended, self.log
            yield child
        finally:
            await child.stop()

    async def refused(self, **environment: str) -> tuple[int, str]:
        """Run it to its end, which is near; answer its exit code and its last line."""
        child = await Child.start(self.program(**environment), self.show)
        try:
            return await asyncio.wait_for(child.wait(), 60), self.log[-1]
        finally:
            await child.stop()

    def show(self, line: str) -> None:
        self.log.append(line)
        sys.stdout.write(f"{line}\n")  # pytest shows it when the test fails

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - another process fulfils it
                await asyncio.sleep(0.05)

    def has_another(self, child: str, pid: int) -> bool:
        return self.pid(child) != pid

    def pid(self, child: str) -> int:
        """The process id of the child's latest start."""
        noted = json.loads((self.data_dir / "stack.json").read_text().splitlines()[0])
        return int(noted["children"][child][0])


def is_alive(pid: int) -> bool:
    """Whether the process runs; in a container, nobody may ever bury a dead one that lost its parent."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def dev(data_dir: Path) -> Dev:
    return Dev(data_dir)


async def test_a_child_that_is_killed_comes_back_and_the_system_answers_again(dev: Dev) -> None:
    async with dev.ready() as stack:
        for name in CHILDREN:
            killed = dev.pid(name)
            os.kill(killed, signal.SIGKILL)
            await dev.until(partial(dev.has_another, name, killed))
            await until_it_answers(stack.program)

    for name in CHILDREN:
        assert any(f"{name} was ended by SIGKILL; starting it again" in line for line in dev.log)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stack_that_is_asked_to_stop_leaves_nothing_running(dev: Dev, number: signal.Signals) -> None:
    async with dev.ready() as stack:
        pids = [dev.pid(name) for name in CHILDREN]
        os.kill(stack.pid, number)
        assert await stack.wait() == 0

    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.slow
async def test_another_terminal_finds_the_stack_by_the_file_that_it_wrote(dev: Dev) -> None:
    async with dev.ready():
        env = dev.data_dir / "env"
        demo = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            '. "$0" && exec "$1" -m cli demo',
            str(env),
            sys.executable,
            cwd=ROOT,
            env={},
        )

        assert await asyncio.wait_for(demo.wait(), 60) == 0
        assert env.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
async def test_a_stopped_stack_starts_again_with_the_same_database(dev: Dev) -> None:
    async with dev.ready():
        password = (dev.data_dir / "postgres" / "password").read_text()

    async with dev.ready() as stack:
        assert await stack.program.answers()
        assert (dev.data_dir / "postgres" / "password").read_text() == password


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
async def test_a_stack_whose_log_nobody_reads_any_more_stops_in_order(dev: Dev, *, asked: bool) -> None:
    """As in `orders dev | tee log`, where Ctrl-C ends `tee`, too."""
    program = dev.program()
    reading, writing = os.pipe()
    stack = await asyncio.create_subprocess_exec(
        *program.command, env=program.environment, cwd=ROOT, stdout=writing, stderr=writing
    )
    os.close(writing)
    await until_it_answers(program)
    os.close(reading)
    if asked:
        stack.send_signal(signal.SIGINT)
    else:
        os.kill(dev.pid("worker"), signal.SIGKILL)  # which it would report

    assert await asyncio.wait_for(stack.wait(), 60) == 0
    assert "postmaster.pid" not in names(dev.data_dir / "postgres" / "data")


async def test_a_second_ctrl_c_does_not_wait(dev: Dev) -> None:
    async with dev.ready(ORDERS_WORKER_SHUTDOWN_GRACE="600") as stack:
        os.kill(dev.pid("worker"), signal.SIGSTOP)  # so that it does not stop when it is asked to
        os.kill(stack.pid, signal.SIGINT)
        await dev.until(lambda: "orders   │ stopping" in dev.log)
        os.kill(stack.pid, signal.SIGINT)
        assert await stack.wait() == 0


@pytest.mark.slow
async def test_what_a_killed_stack_left_running_is_stopped_by_the_next(dev: Dev) -> None:
    async with dev.ready() as stack:
        left = [dev.pid(name) for name in CHILDREN]
        stack.kill()
        await stack.wait()

    async with dev.ready():
        assert not [pid for pid in left if is_alive(pid)]


async def test_a_data_folder_has_one_stack_and_the_second_start_says_so(dev: Dev) -> None:
    async with dev.ready() as stack:
        code, line = await dev.refused()

    assert code == 1
    assert line.startswith(f"orders: already running (process {stack.pid})")


@pytest.mark.parametrize(
    "setting",
    ["ORDERS_API_PORT", "ORDERS_POSTGRES_PORT", "ORDERS_TEMPORAL_PORT", "ORDERS_TEMPORAL_UI_PORT"],
)
async def test_a_busy_port_is_named_with_its_setting_before_anything_is_started(
    dev: Dev, setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = await dev.refused(**{setting: str(port)})

    assert code == 1
    assert line == f"orders: port {port} of 127.0.0.1: Address already in use; {setting} sets another"
    assert len(dev.log) == 1


async def test_a_server_that_never_stays_up_ends_the_stack_with_one_line(dev: Dev) -> None:
    (dev.data_dir / "temporal.sqlite").write_text(
        "this is no database, although it is a file of some length\n" * 99
    )

    code, line = await dev.refused()

    assert code == 1
    assert line.startswith("orders: temporal ended with code 1, 5 times in a row: ")


async def test_servers_that_the_environment_names_are_used_and_none_is_started(dev: Dev) -> None:
    postgres = prepare_postgres(dev.data_dir, free_port(), durable=False)
    temporal = prepare_temporal(free_port(), search_attributes=SEARCH_ATTRIBUTES)
    configured = {"DATABASE_URL": postgres.url, "TEMPORAL_ADDRESS": temporal.address}

    async with running(postgres.program), running(temporal.program), dev.ready(**configured) as stack:
        assert await stack.program.answers()

    assert not [line for line in dev.log if line.startswith(("postgres", "temporal"))]
    assert "orders   │ PostgreSQL is the one of DATABASE_URL" in dev.log
    assert f"orders   │ Temporal is the configured one, {temporal.address}" in dev.log


async def test_a_wrong_setting_is_one_line_and_exit_code_2(dev: Dev) -> None:
    code, line = await dev.refused(ORDERS_API_PORT="many")

    assert code == 2
    assert line.startswith("orders: ORDERS_API_PORT: ")
    assert len(dev.log) == 1
