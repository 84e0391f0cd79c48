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
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

import process
from benchmarks.fill import MOST_ORDERS, Shop, fill
from benchmarks.scale_calls import Call, calls_of, plans_of
from benchmarks.scale_report import Measured, Waits, write
from chaos.progress import Progress
from database.engine import DatabaseUnavailable, create_engine
from database.migrate import migrate
from embedded.child import EmbeddedError, Program, free_port, running
from embedded.postgres import prepare_postgres
from embedded.stack import api_is_ready
from embedded.temporal import prepare_temporal
from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT, Settings

SIZES = "1000,10000,100000,1000000"
ROUNDS = 250
WARM_UP = 10
SEED = 7
FEWEST_ORDERS = 100
CANNOT_MEASURE, INTERRUPTED = 2, 130


class CannotMeasure(Exception):  # noqa: N818 - the name is the fact
    """The API answers what was not expected; the message is one line."""


async def measure_all(asked: argparse.Namespace, progress: Progress) -> None:
    """Measure every size, and write the report.

    Raises:
        EmbeddedError, CannotMeasure, OSError: it cannot be done.
    """
    measured = []
    temporal = prepare_temporal(free_port(), search_attributes=SEARCH_ATTRIBUTES)
    async with running(temporal.program):
        for size in asked.sizes:
            is_last = size == asked.sizes[-1]
            measured.append(await _measure(size, temporal.address, asked.rounds, progress, plans=is_last))
    command = f"python -m benchmarks.scale --sizes {','.join(map(str, asked.sizes))} --rounds {asked.rounds}"
    missed = write(asked.out, measured, command)
    progress.say(f"{asked.out} is written; {len(missed)} of the calls miss their target")
    for line in missed:
        progress.say(line)


async def _measure(
    size: int, temporal_address: str, rounds: int, progress: Progress, *, plans: bool
) -> Measured:
    async with _database() as settings, _engine(settings) as engine:
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
        async with _api(settings, temporal_address) as port:
            waits = await asyncio.to_thread(_ask, port, calls, rounds, progress)
        return Measured(
            orders=size,
            fill_seconds=seconds,
            database_bytes=used,
            postgres=version,
            waits=waits,
            plans=await plans_of(engine, calls) if plans else {},
        )


@contextlib.asynccontextmanager
async def _database() -> AsyncIterator[Settings]:
    """A migrated database on a server of its own, gone when the block ends."""
    with TemporaryDirectory(prefix="orders-scale-", ignore_cleanup_errors=True) as name:
        # PostgreSQL's own user must get in, when root runs this.
        os.chmod(name, 0o711)  # noqa: S103, PTH101 - a Path's would count as blocking
        postgres = await asyncio.to_thread(prepare_postgres, Path(name), free_port())
        try:
            async with running(postgres.program):
                # One connection, because what PostgreSQL knows of a prepared statement is the connection's.
                pool = {"database_pool_size": 1}
                settings = Settings.model_validate({"DATABASE_URL": postgres.url, **pool})
                await asyncio.to_thread(migrate, settings.require_database_url())
                yield settings
        finally:
            # Elsewhere, where PostgreSQL's user cannot enter the temporary folder.
            shutil.rmtree(postgres.folder.parent)


@contextlib.asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings, application_name="scale")
    try:
        yield engine
    finally:
        await engine.dispose()


@contextlib.asynccontextmanager
async def _api(settings: Settings, temporal_address: str) -> AsyncIterator[int]:
    """The API's own process, as usual but for the limit of calls and the log of each; its port."""
    port = free_port()
    program = Program(
        name="api",
        command=(sys.executable, "-m", "api"),
        environment={
            "PATH": os.environ["PATH"],
            "PYTHON_DOTENV_DISABLED": "1",
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": temporal_address,
            "DATABASE_URL": settings.require_database_url(),
            "ORDERS_API_PORT": str(port),
            "ORDERS_RATE_LIMIT": "100000000",
            "LOG_LEVEL": "WARNING",
        },
        folder=ROOT,
        answers=partial(api_is_ready, "127.0.0.1", port),
    )
    async with running(program):
        yield port


def _ask(port: int, calls: Sequence[Call], rounds: int, progress: Progress) -> Waits:
    """Every call in every round; milliseconds from the sending of a call to the last byte of its answer."""
    waits: Waits = {(call.kind, call.name): [] for call in calls}
    chance = random.Random(SEED)  # noqa: S311 - an order by chance, and the same the next time
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
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
    try:
        asyncio.run(_until_told_to_stop(asked, progress))
    except (EmbeddedError, CannotMeasure, DatabaseUnavailable, SQLAlchemyError, OSError) as error:
        sys.stderr.write(f"scale: {str(error).splitlines()[0]}\n")
        return CANNOT_MEASURE
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.say("interrupted; everything is stopped and removed")
        return INTERRUPTED
    return 0


async def _until_told_to_stop(asked: argparse.Namespace, progress: Progress) -> None:
    """Measure; SIGTERM and Ctrl-C end it where it is."""
    task = asyncio.ensure_future(measure_all(asked, progress))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


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
