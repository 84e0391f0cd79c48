"""`orders load` as people run it: what it prints where, and how it ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from load.calls import CannotLoad
from load.command import Asked, parse_mix
from settings import ROOT
from tests.api.callers import set_to
from tests.load.conftest import Recorder, api_served
from tests.system import System, eventually


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said on either stream."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.out)
        return told


@asynccontextmanager
async def loading(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, started."""
    clean = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", "PYTHON_DOTENV_DISABLED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli", "load", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | environment,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> Outcome:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Outcome(int(process.returncode or 0), out.decode(), err.decode())


async def load(*arguments: str, **environment: str) -> Outcome:
    """Run the command to its end."""
    async with loading(*arguments, **environment) as process:
        return await ended(process)


async def test_a_load_that_goes_well_is_one_json_object_and_exit_code_0(address: str) -> None:
    outcome = await load(address, "--clients", "2", "--duration", "2", "--seed", "7", "--json")

    assert outcome.code == 0
    told = outcome.told
    assert (told["api"], told["clients"], told["rate_per_second"], told["seed"]) == (address, 2, None, 7)
    assert told["mix"] == {"create": 1, "get": 6, "list": 2, "change": 1}
    assert told["all"]["count"] == sum(kind["count"] for kind in told["calls"].values()) > 0
    assert told["all"]["errors"] == 0
    assert told["elapsed_seconds"] >= 2


async def test_a_rate_is_a_table_and_where_the_api_is_comes_from_the_settings(address: str) -> None:
    port = address.rpartition(":")[2]
    outcome = await load("--rate", "20", "--duration", "2", "--mix", "list=1,create=0", ORDERS_API_PORT=port)

    assert outcome.code == 0
    title, heading, row, _ = outcome.out.splitlines()
    assert title.startswith(f"{address}, 20 calls a second, list=1, seed 0, in ")
    assert heading.startswith("call")
    assert row.split()[0] == "list"


async def test_a_load_of_which_a_call_failed_is_exit_code_1(system: System) -> None:
    async with api_served(set_to(system, rate_limit=20)) as limited:
        outcome = await load(limited, "--duration", "2", "--mix", "list=1")

    assert outcome.code == 1
    assert "list; the first: 429 Too many requests" in outcome.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_it_with_what_was_measured(number: signal.Signals) -> None:
    recorder = Recorder()

    async def is_under_load() -> bool:
        return len(recorder.asked) > 100

    async with (
        recorder.served() as address,
        loading(address, "--duration", "600", "--mix", "list=1", "--json") as process,
    ):
        await eventually(is_under_load)
        process.send_signal(number)
        outcome = await ended(process)

    assert outcome.code == 130
    assert outcome.told["is_interrupted"] is True
    assert outcome.told["all"]["count"] > 0
    assert "Traceback" not in outcome.err


async def test_ctrl_c_before_the_first_call_is_quiet() -> None:
    recorder = Recorder()
    recorder.answers.clear()

    async def is_asked() -> bool:
        return bool(recorder.asked)

    async with recorder.served() as address, loading(address) as process:
        await eventually(is_asked)
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
        recorder.answers.set()

    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


async def test_a_key_is_sent_and_never_shown() -> None:
    recorder = Recorder()
    async with recorder.served() as address:
        options = (address, "--duration", "0.1", "--mix", "list=1")
        by_option = await load(*options, "--key", "orders_1_open-sesame", "--json")
        by_variable = await load(*options, ORDERS_API_KEY="orders_1_open-sesame")

    assert {asked.headers.get("authorization") for asked in recorder.asked} == {"Bearer orders_1_open-sesame"}
    assert (by_option.code, by_variable.code) == (0, 0)
    assert "sesame" not in by_option.out + by_option.err + by_variable.out + by_variable.err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--mix", "buy=1"],
            "orders: --mix: there is no call 'buy', only create, change, cancel, lifecycle, ",
        ),
        (["--rate", "1", "--clients", "1"], "orders: --rate and --clients exclude each other"),
        (["--duration", "0"], "orders: --duration must be above 0 and at most 86,400"),
        (["nowhere"], "orders: nowhere is no address such as https://orders.example"),
    ],
)
async def test_what_makes_no_sense_is_one_line_and_exit_code_1(options: list[str], line: str) -> None:
    outcome = await load(*options)

    assert (outcome.code, outcome.out) == (1, "")
    (said,) = outcome.err.splitlines()
    assert said.startswith(line)


async def test_help_says_that_orders_are_made() -> None:
    outcome = await load("--help")

    assert outcome.code == 0
    assert "It CREATES and moves orders, which stay." in " ".join(outcome.out.split())


def test_a_mix_is_names_with_weights() -> None:
    assert parse_mix(" get=6 , create=1,list=0") == {"get": 6, "create": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no call ''"),
        ("get=1,", "there is no call ''"),
        ("GET=1", "there is no call 'GET'"),
        ("get=1,get=2", "get is there twice"),
        ("get", "the weight of get must be a whole number, as in get=1"),
        ("get=", "the weight of get must be"),
        ("get=-1", "the weight of get must be"),
        ("get=1.5", "the weight of get must be"),
        ("get=²", "the weight of get must be"),
        ("get=" + "9" * 5_000, "the weight of get must be"),
        ("get=0,list=0", "no weight is above 0"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(CannotLoad, match=f"^--mix: {reason}"):
        parse_mix(text)


@pytest.mark.parametrize(
    "wish",
    [
        {"rate_per_second": 0.0},
        {"rate_per_second": -1.0},
        {"rate_per_second": float("nan")},
        {"rate_per_second": float("inf")},
        {"clients": 0},
        {"clients": 2_001},
        {"duration_seconds": -1.0},
        {"duration_seconds": float("nan")},
        {"duration_seconds": float("inf")},
    ],
)
def test_a_number_that_makes_no_sense_is_refused(wish: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"rate_per_second": None, "clients": None, "duration_seconds": 1.0}

    with pytest.raises(CannotLoad, match=r"^--(rate|clients|duration) must be above 0 and at most "):
        Asked(api="http://127.0.0.1", mix={"get": 1}, seed=0, **usual | wish)
