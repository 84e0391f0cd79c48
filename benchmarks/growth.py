"""What a sweep, more workers and cached workflows cost: `python -m benchmarks.growth`.

    a sweep     10,000 orders are placed and then promoted in one sweep: how long, with how much memory
    workers     whole lifecycles a second with 1, 2 and 4 order workers on this machine
    the cache   the memory of an order worker, by the number of open orders in its cache

Starts all that it needs, servers for each part; writes a table and plots. Its data is in a temporary folder,
and removed.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import process
from benchmarks import command
from benchmarks.growth_parts import CLIENTS
from benchmarks.growth_report import Report, targets_table, write
from benchmarks.growth_sweep import sweep
from benchmarks.growth_workers import with_more_cached, with_more_workers
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from settings import ROOT

ORDERS, SECONDS = 10_000, 20.0
MOST_ORDERS, MOST_SECONDS = 100_000, 3_600.0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured: orders in a sweep, seconds of load, numbers of workers, of orders in a cache."""

    orders: int
    seconds: float
    rounds: int = 3
    workers: tuple[int, ...] = (1, 2, 4)
    cached: tuple[int, ...] = (1_000, 2_000, 4_000)


SHORT = Extent(orders=200, seconds=2.0, rounds=1, cached=(50, 100, 200))


async def measure(extent: Extent, progress: Progress) -> Report:
    """Measure all three.

    Raises:
        CannotMeasure, CannotLoad, EmbeddedError, OSError: it cannot be done.
    """
    async with Rig.started() as rig:
        servers = await rig.versions()
        swept = await sweep(rig, extent.orders, progress)
    async with Rig.started() as rig:
        heats = await with_more_workers(rig, extent.workers, extent.rounds, extent.seconds, progress)
    async with Rig.started() as rig:
        caches = await with_more_cached(rig, extent.cached, progress)
    return Report(
        servers=servers, clients=CLIENTS, seconds=extent.seconds, swept=swept, heats=heats, caches=caches
    )


def main() -> int:
    """Run as the command line says: 0 when all is measured, 2 when it cannot be, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        epilog=main.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--orders", type=_orders, default=ORDERS, help=f"in the sweep ({ORDERS})")
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, help=f"of each load ({SECONDS:g})")
    parser.add_argument("--out", type=Path, help="a folder (docs/growth; with --short, nothing is written)")
    parser.add_argument("--short", action="store_true", help="200 orders, 2 seconds: to see that it works")
    asked = parser.parse_args()
    extent = SHORT if asked.short else Extent(orders=asked.orders, seconds=asked.seconds)
    options = "--short" if asked.short else f"--orders {asked.orders} --seconds {asked.seconds:g}"
    out = asked.out or (None if asked.short else ROOT / "docs" / "growth")
    progress = Progress()

    async def growth() -> int:
        report = await measure(extent, progress)
        if out:
            write(out, report, f"python -m benchmarks.growth {options}")
            progress.say(f"{out} is written")
        sys.stdout.write(targets_table(report))
        return 0

    return command.run("growth", growth(), progress)


def _orders(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_ORDERS:,}")
    return int(given)


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {MOST_SECONDS:,.0f}")
    return seconds


if __name__ == "__main__":
    # Not `sys.exit`: the Temporal SDK's native threads may still be at work.
    process.leave(main())
