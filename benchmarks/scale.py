"""What a read costs among 1,000 to 1,000,000 orders: `python -m benchmarks.scale` starts all that it needs.

For each size, a PostgreSQL of its own with default settings, filled by `benchmarks.fill`, and the API's own
process, asked by one client, one call at a time: every round asks every call once, in an order by chance.
Writes a table, plots, and the plans at the last size. Its data is in a temporary folder, and removed.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import process
from benchmarks import command
from benchmarks.command import CannotMeasure
from benchmarks.fill import MOST_ORDERS, Shop, fill
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from benchmarks.scale_calls import Call, calls_of, plans_of
from benchmarks.scale_report import Measured, Waits, write
from database.engine import create_engine
from settings import ROOT, Settings

SIZES = "1000,10000,100000,1000000"
ROUNDS = 250
WARM_UP = 10
SEED = 7
FEWEST_ORDERS = 100


async def measure_all(asked: argparse.Namespace, progress: Progress) -> int:
    """Measure every size, and write the report; 0.

    Raises:
        EmbeddedError, CannotMeasure, OSError: it cannot be done.
    """
    measured = []
    for size in asked.sizes:
        is_last = size == asked.sizes[-1]
        measured.append(await _measure(size, asked.rounds, progress, plans=is_last))
    sizes = ",".join(map(str, asked.sizes))
    missed = write(asked.out, measured, f"python -m benchmarks.scale --sizes {sizes} --rounds {asked.rounds}")
    progress.say(f"{asked.out} is written; {len(missed)} of the calls miss their target")
    for line in missed:
        progress.say(line)
    return 0


async def _measure(size: int, rounds: int, progress: Progress, *, plans: bool) -> Measured:
    async with Rig.started() as rig, _engine(rig.settings) as engine:
        progress.say(f"{size:,} orders")
        began = time.monotonic()
        await fill(engine, Shop(size, SEED), progress)
        seconds = time.monotonic() - began
        calls = await calls_of(engine)
        async with engine.connect() as connection:
            await connection.execute(text("CHECKPOINT"))  # not in the middle of what is measured
            version = (await connection.execute(text("SHOW server_version"))).scalar_one()
            used = (
                await connection.execute(text("SELECT pg_database_size(current_database())"))
            ).scalar_one()
        address = (await rig.start_api()).removeprefix("http://")
        waits = await asyncio.to_thread(_ask, address, calls, rounds, progress)
        return Measured(
            orders=size,
            fill_seconds=seconds,
            database_bytes=used,
            postgres=version,
            waits=waits,
            plans=await plans_of(engine, calls) if plans else {},
        )


@contextlib.asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The application's own pool; of one, because what PostgreSQL knows of a statement is a connection's."""
    one = settings.model_copy(update={"database_pool_size": 1})
    engine = create_engine(one, application_name="scale")
    try:
        yield engine
    finally:
        await engine.dispose()


def _ask(address: str, calls: Sequence[Call], rounds: int, progress: Progress) -> Waits:
    """Every call in every round; milliseconds from the sending of a call to the last byte of its answer."""
    waits: Waits = {(call.kind, call.name): [] for call in calls}
    chance = random.Random(SEED)  # noqa: S311 - an order by chance, and the same the next time
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        for number in range(-min(WARM_UP, rounds), rounds):
            for call in chance.sample(calls, len(calls)):
                path = call.paths[number % len(call.paths)]
                began = time.perf_counter()
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
                wait = 1_000 * (time.perf_counter() - began)
                if response.status != HTTPStatus.OK:
                    raise CannotMeasure(f"{path}: expected 200, got {response.status} {body.decode()}")
                if number < 0:
                    check(call, path, json.loads(body))
                else:
                    waits[call.kind, call.name].append(wait)
            progress.count("rounds:", max(0, number + 1), rounds)
    return waits


def check(call: Call, path: str, answer: dict[str, object]) -> None:
    """Compare an answer with what must be in it; of orders, with how many there must be."""
    found = {name: answer[name] for name in call.answer}
    if isinstance(listed := found.get("orders"), list):
        found["orders"] = len(listed)
    if found != call.answer:
        raise CannotMeasure(f"{path}: expected {call.answer}, got {found}")


def main() -> int:
    """Run as the command line says: 0 when the report is written, 2 when it cannot be, 130 after Ctrl-C."""
    asked = parse()
    progress = Progress()
    return command.run("scale", measure_all(asked, progress), progress)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        epilog=main.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help=f"numbers of orders ({SIZES})")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help=f"calls of each kind ({ROUNDS})")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale", help="a folder (docs/scale)")
    return parser.parse_args(arguments)


def _sizes(given: str) -> list[int]:
    sizes = [int(part) if part.isdecimal() else 0 for part in given.split(",")]
    if sizes != sorted(set(sizes)) or not FEWEST_ORDERS <= sizes[0] <= sizes[-1] <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(
            f"must be numbers from {FEWEST_ORDERS} to {MOST_ORDERS:,}, ascending, separated by commas"
        )
    return sizes


def _rounds(given: str) -> int:
    if not given.isdecimal() or int(given) < 2:  # noqa: PLR2004 - percentiles need two values
        raise argparse.ArgumentTypeError("must be a whole number from 2 on")
    return int(given)


if __name__ == "__main__":
    # Not `sys.exit`: what a thread still asks would be waited for.
    process.leave(main())
