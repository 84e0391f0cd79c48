"""What `benchmarks.growth` has measured, as a page and plots."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.machine import commit, machine, packages
from benchmarks.plots import SETTINGS, svg
from load.engine import percentile
from settings import Settings

SWEEP_SECONDS = 300.0
"""What a sweep may take, whatever its number of orders."""

FLAT = 1.1
"""Memory is flat where the second half of a sweep peaks at no more than this times the first half's peak."""

MIB, KIB = 2**20, 2**10
DEFAULT_CACHE = int(Settings.model_fields["worker_cached_workflows"].default)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Seconds since the first order; orders that are PENDING, where known; private bytes by program."""

    seconds: float
    pending: int | None
    memory: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A sweep. `placed_after`, `began` and `ended` are seconds, as those of a moment.

    It `ended` when no order was PENDING; `signalling_seconds` is the sweep's own time. `promoted_once` counts
    orders, `promotions` what happened to them. `cached` is the order worker's cache, before and after; `cpu`
    is seconds by program. `writes` are the latencies of creates during the sweep, in seconds, ascending, of
    which `accepted` ended with a 202.
    """

    orders: int
    placed_after: float
    began: float
    ended: float
    signalling_seconds: float
    signalled: int
    promoted_once: int
    promotions: int
    cached: tuple[int, int]
    cpu: Mapping[str, float]
    writes: Sequence[float]
    accepted: int
    moments: Sequence[Moment]

    @property
    def seconds(self) -> float:
        """From the sweep's start until PostgreSQL had no PENDING order."""
        return self.ended - self.began

    def memory(self, program: str) -> "Memory":
        """What a program took in the sweep."""
        swept = [it for it in self.moments if self.began <= it.seconds <= self.ended]
        before = [it for it in self.moments if it.seconds < self.began]
        half = (self.began + self.ended) / 2
        first = max(it.memory[program] for it in [before[-1], *swept] if it.seconds <= half)
        second = max(it.memory[program] for it in swept if it.seconds > half)
        return Memory(
            idle=self.moments[0].memory[program],
            start=before[-1].memory[program],
            first_half=first,
            second_half=second,
            end=self.moments[-1].memory[program],
        )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Private bytes of a program: before any order, when the sweep began, each half's peak, at the end."""

    idle: int
    start: int
    first_half: int
    second_half: int
    end: int

    @property
    def is_flat(self) -> bool:
        """Whether it had found its size by the middle of the sweep."""
        return self.second_half <= FLAT * self.first_half


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Lifecycles under one number of order workers; `accepted` ended with a 202.

    `cpu` is seconds by program.
    """

    workers: int
    lifecycles: int
    accepted: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Whole lifecycles."""
        return self.lifecycles / self.seconds


@dataclass(frozen=True, kw_only=True)
class Cache:
    """An order worker's private bytes with so many open orders in its cache."""

    workflows: int
    private: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run; `seconds` is the length of each load, by so many `clients`."""

    servers: str
    clients: int
    seconds: float
    swept: Swept
    heats: Sequence[Heat]
    caches: Sequence[Cache]

    def with_workers(self, number: int) -> list[Heat]:
        """What was measured with so many, by round."""
        return [heat for heat in self.heats if heat.workers == number]

    @property
    def numbers_of_workers(self) -> list[int]:
        """Ascending."""
        return sorted({heat.workers for heat in self.heats})

    @property
    def line(self) -> tuple[float, float]:
        """Bytes for each cached workflow, and without any: the line of least squares."""
        workflows = [float(it.workflows) for it in self.caches]
        slope, intercept = linear_regression(workflows, [float(it.private) for it in self.caches])
        return slope, intercept


def write(folder: Path, report: Report, command: str) -> None:
    """Write the page and the plots, those of an earlier run replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(_page(report, command))
    (folder / "sweep.svg").write_bytes(plot_sweep(report.swept))
    (folder / "memory.svg").write_bytes(plot_memory(report.swept))
    (folder / "cache.svg").write_bytes(plot_cache(report))


# The page.


def targets_table(report: Report) -> str:
    """What was asked for, and what came of it, as Markdown."""
    swept = report.swept
    grown = [name for name in swept.cpu if not swept.memory(name).is_flat]
    once = swept.promoted_once == swept.promotions == swept.orders
    rows = [
        (
            f"{swept.orders:,} PENDING orders are promoted in one sweep, in at most {SWEEP_SECONDS:g} s",
            f"{swept.seconds:.0f} s",
            swept.seconds <= SWEEP_SECONDS,
        ),
        (
            "each of them once",
            f"{swept.promoted_once:,} orders once, {swept.promotions:,} promotions in all",
            once,
        ),
        ("the memory of every process is flat", f"grows: {', '.join(grown)}" if grown else "flat", not grown),
    ]
    lines = ["| target | measured | |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {'met' if met else '**missed**'} |" for what, figure, met in rows]
    return "\n".join(lines) + "\n"


def _page(report: Report, command: str) -> str:
    return f"""# What a sweep, more workers and cached workflows cost

Written by `{command}`, which starts all that it needs: for each
of the three parts a PostgreSQL with fsync, a Temporal development server on a file, and the shipped programs,
each a process. Memory is private (USS), in MiB, a program's children included; PostgreSQL's shared buffers
are not private.

| | |
|---|---|
| machine | {machine()} |
| this repository | {commit()} |
| servers | {report.servers} |
| packages | {packages("temporalio", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "aiohttp")} |

{targets_table(report)}
{_on_the_sweep(report.swept)}
{_on_workers(report)}
{_on_the_cache(report)}"""


def _on_the_sweep(swept: Swept) -> str:
    started = f"{swept.placed_after:.0f} s ({swept.orders / swept.placed_after:.0f} a second)"
    promoted = f"{swept.seconds:.0f} s ({swept.orders / swept.seconds:.0f} a second)"
    worker = _of_the_worker(swept)
    before, after = swept.cached
    return f"""## A sweep

The workflows of {swept.orders:,} orders were started in {started}, while one order
worker ran; PostgreSQL had all of them {swept.began:.0f} s after the first. Then one sweep was started, as the
schedule starts it. It had signalled {swept.signalled:,} orders after {swept.signalling_seconds:.0f} s;
no order was PENDING after {promoted}.

![orders that are PENDING, over time](sweep.svg)

Memory is flat where the second half of the sweep peaks at no more than {100 * (FLAT - 1):.0f} % above the
first half: what a program needs to work at all it may take; what grows with the orders, it may not. *Idle* is
before the first order, *end* some seconds after the sweep.

{_memory_table(swept)}

![memory over time](memory.svg)

{_on_writes(swept)}

The order worker had {before:,} orders in its cache when the sweep began, and {after:,} when it ended. There
can be `ORDERS_WORKER_CACHED_WORKFLOWS` at most, {DEFAULT_CACHE:,} by default. They took the worker from
{worker.idle / MIB:.0f} to {worker.start / MIB:.0f} MiB. An order that is not there is replayed from its
history when its signal comes.
"""


def _of_the_worker(swept: Swept) -> Memory:
    return swept.memory(next(name for name in swept.cpu if name.startswith("order worker")))


def _on_writes(swept: Swept) -> str:
    middle, most = (1_000 * percentile(swept.writes, share) for share in (0.5, 0.99))
    return f"""During the sweep {len(swept.writes)} orders were placed through the API, one now and then: p50
{middle:,.0f} ms, p99 {most:,.0f} ms, {swept.accepted} of them answered 202."""


def _on_workers(report: Report) -> str:
    rounds = len(report.with_workers(report.numbers_of_workers[0]))
    return f"""## More workers

Whole lifecycles: an order is placed and moved three times, by {report.clients} clients through one API
process. Clients, servers and all workers share the machine's {os.cpu_count()} cores. {rounds} rounds of
{report.seconds:g} s for each number of workers, in turn: medians, and the spread.

{_workers_table(report)}

Seconds of processor time, and in brackets milliseconds for each lifecycle:

{_cpu_table(report)}
"""


def _on_the_cache(report: Report) -> str:
    slope, base = report.line
    full = (base + DEFAULT_CACHE * slope) / MIB
    worked = _of_the_worker(report.swept)
    peak = max(worked.first_half, worked.second_half) / MIB
    return f"""## The memory of cached workflows

Open orders of two items, all of them in the cache of one order worker.

{_cache_table(report)}

![memory by cached workflows](cache.svg)

**{slope / KIB:.0f} KiB for each cached workflow** (least squares), beside {base / MIB:.0f} MiB without any:
with a full cache of {DEFAULT_CACHE:,}, the default, an order worker takes about {full:,.0f} MiB, and more
while it works (up to {peak:,.0f} MiB in the sweep above).
"""


def _memory_table(swept: Swept) -> str:
    lines = [
        "| | idle | start | peak, first half | peak, second half | end | | CPU s |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for name, seconds in swept.cpu.items():
        it = swept.memory(name)
        cells = " | ".join(
            f"{private / MIB:.0f}" for private in (it.idle, it.start, it.first_half, it.second_half, it.end)
        )
        lines.append(f"| {name} | {cells} | {'flat' if it.is_flat else '**grows**'} | {seconds:.1f} |")
    return "\n".join(lines)


def _workers_table(report: Report) -> str:
    lines = ["| order workers | lifecycles a second | spread | answered 202 |", "|--:|--:|--:|--:|"]
    for number in report.numbers_of_workers:
        heats = report.with_workers(number)
        rates = sorted(heat.per_second for heat in heats)
        accepted = sum(heat.accepted for heat in heats)
        lines.append(f"| {number} | {median(rates):.1f} | {rates[0]:.1f} to {rates[-1]:.1f} | {accepted} |")
    return "\n".join(lines)


def _cpu_table(report: Report) -> str:
    lines = [
        "| order workers | " + " | ".join(report.heats[0].cpu) + " | all |",
        "|--:|" + "--:|" * (len(report.heats[0].cpu) + 1),
    ]
    lines += [
        f"| {number} | {' | '.join(_cpu_cells(report.with_workers(number)))} |"
        for number in report.numbers_of_workers
    ]
    return "\n".join(lines)


def _cpu_cells(heats: Sequence[Heat]) -> Iterator[str]:
    """Of each program, then of all: the medians of the rounds."""
    for names in (*((name,) for name in heats[0].cpu), tuple(heats[0].cpu)):
        used = [sum(heat.cpu[name] for name in names) for heat in heats]
        each = [1_000 * it / heat.lifecycles for it, heat in zip(used, heats, strict=True)]
        yield f"{median(used):.1f} ({median(each):.0f})"


def _cache_table(report: Report) -> str:
    lines = ["| cached workflows | MiB |", "|--:|--:|"]
    lines += [f"| {it.workflows:,} | {it.private / MIB:.0f} |" for it in report.caches]
    return "\n".join(lines)


# The plots.


def plot_sweep(swept: Swept) -> bytes:
    """The orders that are PENDING, from the start of the sweep, as SVG."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.subplots()
        known = [it for it in swept.moments if it.pending is not None and it.seconds >= swept.began]
        axes.plot([it.seconds - swept.began for it in known], [it.pending or 0 for it in known])
        axes.axvline(SWEEP_SECONDS, color="black", linewidth=0.8)
        axes.annotate("target", (SWEEP_SECONDS, 0), rotation=90, ha="right", va="bottom")
        axes.set(xlabel="seconds since the sweep began", ylabel="PENDING orders")
        axes.set(xlim=(0, None), ylim=(0, None))
        return svg(figure)


def plot_memory(swept: Swept) -> bytes:
    """The memory of each program, from the first order on, as SVG."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.subplots()
        for name in swept.moments[0].memory:
            axes.plot(
                [it.seconds for it in swept.moments],
                [it.memory[name] / MIB for it in swept.moments],
                label=name,
            )
        axes.axvspan(swept.began, swept.ended, color="black", alpha=0.06, label="the sweep")
        axes.set(xlabel="seconds since the first order", ylabel="private memory, MiB")
        axes.set(xlim=(0, None), ylim=(0, None))
        figure.legend(loc="outside right upper")
        return svg(figure)


def plot_cache(report: Report) -> bytes:
    """The memory of a worker against the workflows in its cache, as SVG."""
    slope, base = report.line
    most = report.caches[-1].workflows
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([it.workflows for it in report.caches], [it.private / MIB for it in report.caches], "o")
        axes.plot([0, most], [base / MIB, (base + most * slope) / MIB], color="#888888", linewidth=0.8)
        axes.set(xlabel="cached workflows", ylabel="private memory, MiB")
        axes.set(xlim=(0, None), ylim=(0, None))
        return svg(figure)
