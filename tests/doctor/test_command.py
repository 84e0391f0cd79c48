"""`orders doctor` as people and monitoring run it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from io import StringIO

import pytest
from rich.console import Console

from doctor.report import Bar, Lines, bars
from embedded.child import free_port
from orders.status import OrderStatus
from settings import ROOT
from tests.conftest import Servers, Systems
from tests.databases import EMPTY, a_database
from tests.doctor.conftest import Ward, tidy
from tests.processes import HASTY_ORDERS, run_to_its_end, servers_of
from tests.system import System

_, PROCESSING, SHIPPED, _, _ = OrderStatus

AHEAD = "UPDATE orders SET version = 9 WHERE id = :id"


@pytest.fixture(scope="module")
async def served(systems: Systems) -> AsyncIterator[System]:
    async with systems("doctor-command") as system, system.workers():
        yield system


@pytest.fixture
async def ward(served: System) -> AsyncIterator[Ward]:
    """Nothing is wrong with any order when a test begins, and none is left when it ends."""
    async with tidy(served) as ward:
        yield ward


async def doctor(system: System, *options: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code of `orders doctor`, and what it said on either stream."""
    return await run_to_its_end(*HASTY_ORDERS, "doctor", *options, **{**servers_of(system), **environment})


async def test_all_well_is_exit_code_0_and_one_line_after_the_progress(ward: Ward) -> None:
    await ward.place(PROCESSING)

    code, (*progress, line) = await doctor(ward.system)

    assert (code, line) == (0, "Workflows: 1. Orders in PostgreSQL: 1. All well.")
    assert progress == [
        "Comparing workflows with PostgreSQL: 0 of 1",
        "Comparing workflows with PostgreSQL: 1 of 1",
        "Comparing PostgreSQL with workflows: 0 of 1",
        "Comparing PostgreSQL with workflows: 1 of 1",
    ]


# Each of these waits through the doctor's three looks, so two of them ask for all that there is to ask.


async def test_a_finding_is_exit_code_1_and_json_is_all_that_goes_to_standard_output(ward: Ward) -> None:
    order_id = await ward.place()
    await ward.harm(order_id, AHEAD)

    code, log = await doctor(ward.system, "--json")

    start = log.index("{")
    assert code == 1
    assert all(" of " in line for line in log[:start])
    assert json.loads("\n".join(log[start:])) == {
        "workflows": 1,
        "rows": 1,
        "findings": [
            {
                "order_id": str(order_id),
                "kind": "ahead",
                "detail": "PostgreSQL has version 9 (PENDING), its workflow version 1 (PENDING)",
                "todo": "orders doctor --repair",
                "mended": False,
            }
        ],
        "left": 1,
    }


async def test_a_repair_mends_what_it_can_and_what_stays_is_exit_code_1(ward: Ward) -> None:
    ahead, lost = await ward.place(PROCESSING), await ward.place()
    await ward.harm(ahead, AHEAD)
    await ward.lose_workflow(lost)

    code, log = await doctor(ward.system, "--repair")

    assert code == 1
    finding = "PostgreSQL has version 9 (PROCESSING), its workflow version 2 (PROCESSING)"
    assert f"mended order {ahead}: {finding}" in log
    assert f"    to do: orders doctor --revive {lost}" in log
    assert log[-1].endswith("Found: 1 ahead, 1 unknown. Mended: 1.")


async def test_an_order_that_is_not_to_be_revived_is_one_line(ward: Ward) -> None:
    order_id = await ward.place()

    code, log = await doctor(ward.system, "--revive", str(order_id))

    assert (code, log) == (
        1,
        [f"orders: Order {order_id} has a workflow; `orders doctor` says how it is"],
    )


async def test_without_postgresql_it_could_not_look(served: System) -> None:
    url = f"postgresql://orders@127.0.0.1:{free_port()}/orders"

    code, log = await doctor(served, DATABASE_URL=url)

    assert code == 2
    assert log[-1].startswith("orders: PostgreSQL is unavailable: ")
    assert sum(line.startswith("orders: ") for line in log) == 1


async def test_without_temporal_it_could_not_look(served: System) -> None:
    code, log = await doctor(served, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")

    assert code == 2
    assert [line.partition(" at ")[0] for line in log] == ["orders: Temporal does not answer"]


async def test_in_a_database_without_tables_it_could_not_look(served: System, servers: Servers) -> None:
    async with a_database(servers.database_url, EMPTY) as url:
        code, log = await doctor(served, DATABASE_URL=url)

    assert code == 2
    assert log[-1].startswith("orders: DATABASE_URL: ")
    assert 'relation "orders" does not exist' in log[-1]


def test_on_a_terminal_progress_is_a_bar() -> None:
    screen = StringIO()
    with bars(Console(file=screen, force_terminal=True, width=120)) as shown:
        bar = Bar(shown)
        bar.begin("workflows", 4)
        bar.advance(1)
        bar.advance(2)

    assert "Comparing workflows with PostgreSQL" in screen.getvalue()
    assert "3/4" in screen.getvalue()


async def test_the_command_shows_the_bar_when_its_standard_error_is_a_terminal(ward: Ward) -> None:
    await ward.place()
    ours, its = os.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", **servers_of(ward.system)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "doctor"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=its,
    )
    os.close(its)
    output, _ = await process.communicate()
    screen = os.read(ours, 65_536).decode()
    os.close(ours)

    assert output.decode() == "Workflows: 1. Orders in PostgreSQL: 1. All well.\n"
    assert "1/1" in screen


def test_elsewhere_progress_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("workflows", 1_000)
    for _ in range(100):
        lines.advance(10)

    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in told] == [f"{done} of 1000" for done in range(0, 1_001, 100)]
