"""What each lever of speed is worth: `python -m benchmarks.levers` measures every one of them by itself.

A lever is the system with one thing otherwise than shipped. It runs beside the shipped one, each new and on
servers of its own, and they take turns: a ratio is one of two neighbours. Writes a table. Its data is in
temporary folders, and removed.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import process
from benchmarks import command
from benchmarks.command import CannotMeasure
from benchmarks.machine import commit, machine, packages
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from benchmarks.variants import VARIANTS
from load.calls import orders_at
from load.engine import Choose, run
from settings import ROOT

ROUNDS, SECONDS, WARM_UP_SECONDS = 5, 4.0, 3.0
CLIENTS = 16
PROGRAMS = ("api", "worker", "temporal", "postgres")


def _dynamic(*values: str) -> tuple[str, ...]:
    return tuple(part for value in values for part in ("--dynamic-config-value", value))


@dataclass(frozen=True, kw_only=True)
class Lever:
    """The system with one thing otherwise: a variant of its programs, options of a server, more workers."""

    name: str
    variant: str = "shipped"
    temporal: Sequence[str] = ()
    postgres: Sequence[str] = ()
    workers: int = 1
    call: str = "lifecycle"


LEVERS = (
    Lever(name="nothing, to see what chance does"),
    Lever(name="gRPC compressed, the SDK's default", variant="compressed"),
    Lever(name="workflows in the sandbox", variant="sandboxed"),
    Lever(name="the same, our modules passed through", variant="sandboxed_with_our_modules_passed_through"),
    Lever(name="regular activities", variant="regular_activities"),
    Lever(name="the same, not eager", variant="regular_activities_not_eager"),
    Lever(name="no search attributes written", variant="no_search_attributes"),
    Lever(name="no details for the Web UI", variant="no_details"),
    Lever(name="2 pollers", variant="two_pollers"),
    Lever(name="pollers as the server advises", variant="scaled_pollers"),
    Lever(name="10 slots", variant="ten_slots"),
    Lever(name="4 cached workflows", variant="four_cached_workflows"),
    Lever(name="2 order workers", workers=2),
    Lever(name="asyncio's event loop", variant="plain_loop"),
    Lever(name="looks at fixed times", variant="looks_at_fixed_times"),
    Lever(
        name="4 task-queue partitions",
        temporal=_dynamic("matching.numTaskqueueReadPartitions=4", "matching.numTaskqueueWritePartitions=4"),
    ),
    Lever(
        name="Temporal's shard at 20 tasks a second",
        temporal=_dynamic("history.transferProcessorMaxPollRPS=20"),
    ),
    Lever(name="SQLite: synchronous=full", temporal=("--sqlite-pragma", "synchronous=full")),
    Lever(name="SQLite: synchronous=off", temporal=("--sqlite-pragma", "synchronous=off")),
    Lever(name="PostgreSQL: synchronous_commit=off", postgres=("--synchronous_commit=off",)),
    Lever(name="PostgreSQL: shared_buffers=512MB", postgres=("--shared_buffers=512MB",)),
)


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Calls a second, and milliseconds of processor time for one call by program."""

    per_second: float
    cpu: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A lever and the shipped system beside it, by round."""

    lever: Lever
    shipped: Sequence[Heat]
    changed: Sequence[Heat]

    @property
    def ratios(self) -> list[float]:
        """How much faster it is with the lever, in each round."""
        return [
            ours.per_second / theirs.per_second
            for theirs, ours in zip(self.shipped, self.changed, strict=True)
        ]


@asynccontextmanager
async def _system(lever: Lever) -> AsyncIterator[tuple[Rig, Choose]]:
    async with Rig.started(temporal_options=lever.temporal, postgres_options=lever.postgres) as rig:
        program = ("benchmarks.variants", lever.variant)
        for number in range(1, lever.workers + 1):
            await rig.start(f"worker {number}", *program, "worker", "--serve", "orders")
        url = await rig.start_api(*program)
        async with orders_at(url, {lever.call: 1}) as orders:
            yield rig, orders.choose


async def _heat(rig: Rig, choose: Choose, seconds: float) -> Heat:
    before = rig.cpu_seconds()
    result = await run(choose, clients=CLIENTS, duration=seconds)
    after = rig.cpu_seconds()
    if result.errors:
        raise CannotMeasure(" ".join(next(iter(result.messages.values())).split()))
    calls = sum(map(len, result.latencies.values()))
    cpu = dict.fromkeys(PROGRAMS, 0.0)
    for name in after:
        cpu[name.split()[0]] += 1_000 * (after[name] - before[name]) / calls
    return Heat(per_second=calls / result.elapsed, cpu=cpu)


async def measure(levers: Sequence[Lever], rounds: int, seconds: float, progress: Progress) -> list[Outcome]:
    """Every lever, by rounds in turn with the shipped system.

    Raises:
        CannotMeasure, CannotLoad, EmbeddedError, OSError: it cannot be done.
    """
    outcomes = []
    for number, lever in enumerate(levers):
        progress.count(f"{lever.name}:", number, len(levers))
        # Both new: Temporal's development server becomes slower with what it keeps.
        async with _system(Lever(name="shipped")) as shipped, _system(lever) as changed:
            for system in (shipped, changed):
                await _heat(*system, WARM_UP_SECONDS)
            pairs = [(await _heat(*shipped, seconds), await _heat(*changed, seconds)) for _ in range(rounds)]
        outcomes.append(
            Outcome(lever=lever, shipped=[it for it, _ in pairs], changed=[it for _, it in pairs])
        )
    return outcomes


def page_of(outcomes: Sequence[Outcome], run_by: str) -> str:
    """The page, as Markdown."""
    return f"""# What each lever is worth

Written by `{run_by}`. Each row is the whole system with one thing
otherwise than shipped, in turn with the shipped one, each new and on servers of its own: whole lifecycles (an
order is created, and moved three times), {CLIENTS} clients, the client on the same machine. Medians, and the
spread of the ratios; processor time in milliseconds for one lifecycle, with the lever (shipped). The first
row changes nothing: what is within its spread is chance.
[Decision 0011](../decisions/0011-what-made-it-faster.md) says what was made of it.

| | |
|---|---|
| machine | {machine()} |
| this repository | {commit()} |
| packages | {packages("temporalio", "fastapi", "uvicorn", "uvloop", "sqlalchemy", "asyncpg")} |

{table_of(outcomes)}"""


def table_of(outcomes: Sequence[Outcome]) -> str:
    """The table, as Markdown."""
    return "\n".join(_table(outcomes)) + "\n"


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| lever | a second (shipped) | ratio (spread) | {' | '.join(PROGRAMS)} |"
    yield "|---|--:|--:|" + "--:|" * len(PROGRAMS)
    for it in outcomes:
        cpu = " | ".join(
            f"{median(heat.cpu[name] for heat in it.changed):.1f} "
            f"({median(heat.cpu[name] for heat in it.shipped):.1f})"
            for name in PROGRAMS
        )
        yield (
            f"| {it.lever.name} | {median(heat.per_second for heat in it.changed):.1f} "
            f"({median(heat.per_second for heat in it.shipped):.1f}) "
            f"| {median(it.ratios):.2f} ({min(it.ratios):.2f}-{max(it.ratios):.2f}) | {cpu} |"
        )


def main() -> int:
    """Run as the command line says: 0 when all is measured, 2 when it cannot be, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.levers",
        description=__doc__,
        epilog=main.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each measurement ({SECONDS:g})")
    parser.add_argument(
        "--only", action="append", choices=sorted(VARIANTS), help="only this variant; writes nothing"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "levers", help="a folder")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")
    progress = Progress()
    return command.run("levers", levers(asked, progress), progress)


async def levers(asked: argparse.Namespace, progress: Progress) -> int:
    """Measure, and tell; 0."""
    wanted = [it for it in LEVERS if not asked.only or it.variant in asked.only]
    outcomes = await measure(wanted, asked.rounds, asked.seconds, progress)
    sys.stdout.write(table_of(outcomes))
    if not asked.only:
        asked.out.mkdir(parents=True, exist_ok=True)
        run_by = f"python -m benchmarks.levers --rounds {asked.rounds} --seconds {asked.seconds:g}"
        (asked.out / "README.md").write_text(page_of(outcomes, run_by))
        progress.say(f"{asked.out} is written")
    return 0


if __name__ == "__main__":
    # Not `sys.exit`: the Temporal SDK's native threads may still be at work.
    process.leave(main())
