"""Telling people and machines how a load goes, and what came of it."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from load.engine import LATE_SECONDS, Result, percentile

LINE_EVERY_SECONDS = 5

_SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p99_9_ms": 0.999, "max_ms": 1.0}
_MOST_LATE_SHARE = 0.01
# As many as chance makes late on any machine.
_MOST_LATE_CALLS = 10
_MOST_CPU_SHARE = 0.9
_WIDTH = 100

Figures = dict[str, float | None]


def figures(result: Result) -> dict[str, Figures]:
    """By name of call, and for `all`: counts, answers as expected a second, latencies in milliseconds."""
    times = {name: sorted(latencies) for name, latencies in sorted(result.latencies.items())}
    errors = Counter({"all": result.errors.total()})
    for (name, _), number in result.errors.items():
        errors[name] += number
    times["all"] = sorted(chain.from_iterable(times.values()))
    return {name: _figures(ordered, errors[name], result.elapsed) for name, ordered in times.items()}


def _figures(ordered: list[float], errors: int, elapsed: float) -> Figures:
    counts = {"count": len(ordered), "ok_per_second": round((len(ordered) - errors) / elapsed, 3)}
    latencies = {
        name: round(1_000 * percentile(ordered, share), 3) if ordered else None
        for name, share in _SHARES.items()
    }
    return {**counts, **latencies, "errors": errors}


def warnings(result: Result) -> list[str]:
    """Why the generator may have measured itself, one line for each reason."""
    found = []
    calls = sum(map(len, result.latencies.values()))
    late = _late(result)
    if late > max(_MOST_LATE_CALLS, _MOST_LATE_SHARE * calls):
        found.append(
            f"The generator could not keep up: {late:,} of {calls:,} calls began more than "
            f"{1_000 * LATE_SECONDS:.0f} ms late with nothing to wait for. The latencies are partly its own."
        )
    if result.cpu > _MOST_CPU_SHARE * result.elapsed:
        found.append(
            f"The generator was busy {result.cpu / result.elapsed:.0%} of the time on its one core: "
            "the deployment may answer more than it can ask."
        )
    return found


def _late(result: Result) -> int:
    return sum(seconds > LATE_SECONDS for seconds in result.lateness)


def to_json(result: Result, asked: dict[str, Any]) -> str:
    """One JSON object: what was asked for, and all that came of it."""
    kinds = figures(result)
    told = {
        **asked,
        "elapsed_seconds": round(result.elapsed, 3),
        "is_interrupted": result.is_interrupted,
        "all": kinds.pop("all"),
        "calls": kinds,
        "errors": {
            kind: {"first_message": result.messages[kind], "calls": calls}
            for kind, calls in _by_kind(result.errors).items()
        },
        "notes": _by_kind(result.notes),
        "generator": {"cpu_seconds": round(result.cpu, 3), "late_calls": _late(result)},
        "warnings": warnings(result),
    }
    return json.dumps(told, indent=2)


def _by_kind(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Counts by kind and then name of call, instead of the other way round; the most frequent first."""
    turned: dict[str, dict[str, int]] = {}
    for (name, kind), number in counts.most_common():
        turned.setdefault(kind, {})[name] = number
    return turned


def tell(result: Result, title: str) -> None:
    """Print a table, and below it whatever was no ordinary answer."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    ended = "interrupted after" if result.is_interrupted else "in"
    console.print(f"{escape(title)}, {ended} {result.elapsed:.1f} s", soft_wrap=True)
    table = Table("call", box=None, pad_edge=False)
    for heading in ("count", "ok/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "errors"):
        table.add_column(heading, justify="right")
    for name, row in figures(result).items():
        decimals = {"count": 0, "errors": 0}
        cells = ("-" if cell is None else f"{cell:,.{decimals.get(key, 1)}f}" for key, cell in row.items())
        table.add_row(name, *cells)
    console.print(table)
    for note, calls in _by_kind(result.notes).items():
        console.print(f"{note}: {_list(calls)}", soft_wrap=True)
    for kind, calls in _by_kind(result.errors).items():
        message = f"[red]{kind}[/red]: {_list(calls)}; the first: {escape(result.messages[kind])}"
        console.print(message, soft_wrap=True)
    for warning in warnings(result):
        console.print(f"[yellow]{warning}[/yellow]", soft_wrap=True)


def _list(calls: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in calls.items())


class _Latest:
    """What has happened since it was last told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._seen: Counter[str] = Counter()

    def tell(self, result: Result) -> str:
        times = sorted(
            chain.from_iterable(times[self._seen[name] :] for name, times in result.latencies.items())
        )
        rate = len(times) / (result.elapsed - self.seconds)
        self.seconds = result.elapsed
        self._seen = Counter({name: len(times) for name, times in result.latencies.items()})
        p50, p99 = (f"{1_000 * percentile(times, share):,.1f}" if times else "-" for share in (0.5, 0.99))
        return f"{rate:,.0f} calls/s, p50 {p50} ms, p99 {p99} ms, {result.errors.total():,} errors"


@contextmanager
def shown(duration: float) -> Iterator[Callable[[Result], None]]:
    """Show on standard error how a load goes: a bar on a terminal, a line every few seconds elsewhere."""
    latest = _Latest()
    console = Console(stderr=True)

    def write(result: Result) -> None:
        if round(result.elapsed - latest.seconds) >= LINE_EVERY_SECONDS:
            sys.stderr.write(
                f"{min(result.elapsed, duration):.0f} of {duration:g} s: {latest.tell(result)}\n"
            )

    if not console.is_terminal:
        yield write
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    # Drawn once a second by whoever calls, not ten times by a thread: the load needs the processor.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bars:
        bar = bars.add_task("", total=duration)
        yield lambda result: bars.update(
            bar, completed=result.elapsed, description=latest.tell(result), refresh=True
        )
