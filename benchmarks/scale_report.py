"""What `benchmarks.scale` has measured, as a page, plots and plans."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.machine import commit, machine, packages
from benchmarks.plots import SETTINGS, svg
from benchmarks.scale_calls import BY_CURSOR, BY_PAGE, LIMIT, ONE

Waits = dict[tuple[str, str], list[float]]
"""Milliseconds that each call took, by its kind and its name."""

TARGETS = {BY_CURSOR: 20.0, BY_PAGE: 500.0}
"""What the 99th percentile may be, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found out at one size; the plans by the name of their call."""

    orders: int
    fill_seconds: float
    database_bytes: int
    postgres: str
    waits: Waits
    plans: Mapping[str, str] = field(default_factory=dict)

    def percentiles(self, call: tuple[str, str]) -> tuple[float, float]:
        """The median and the 99th percentile of a call, in milliseconds."""
        hundredths = quantiles(self.waits[call], n=100, method="inclusive")
        return hundredths[49], hundredths[98]


def write(folder: Path, measured: Sequence[Measured], command: str) -> list[str]:
    """Write everything into the folder, plans and plots of an earlier run replaced; the targets missed."""
    plans = folder / "plans"
    shutil.rmtree(plans, ignore_errors=True)
    plans.mkdir(parents=True)
    for name, text in measured[-1].plans.items():
        (plans / f"{_slug(name)}.txt").write_text(f"{text}\n")
    for kind in (ONE, BY_CURSOR, BY_PAGE):
        (folder / f"{_slug(kind)}.svg").write_bytes(plot(kind, measured))
    missed = _missed(measured)
    (folder / "README.md").write_text(_page(measured, command, missed))
    return missed


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _missed(measured: Sequence[Measured]) -> list[str]:
    return [
        f"{kind}, {name}, {each.orders:,} orders: p99 {each.percentiles((kind, name))[1]:.1f} ms, "
        f"target {TARGETS[kind]:g} ms"
        for each in measured
        for kind, name in each.waits
        if kind in TARGETS and each.percentiles((kind, name))[1] > TARGETS[kind]
    ]


# The plots.

STYLES = {"": "-", "first page": "-", "middle page": ":", "last page": "--"}
COLOURS = mpl.color_sequences["tab20"]


def plot(kind: str, measured: Sequence[Measured]) -> bytes:
    """The calls of a kind as SVG, cost against number of orders; the same figures give the same bytes."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(12, 5), layout="constrained")
        medians, tails = figure.subplots(1, 2, sharey=True)
        _draw(medians, kind, measured, place=0)
        _draw(tails, kind, measured, place=1)
        medians.set(title=f"{kind}: median", ylabel="ms")
        tails.set(title="99th percentile")
        if kind in TARGETS:
            tails.axhline(TARGETS[kind], color="black", linewidth=0.8)
            tails.annotate("target", (measured[0].orders, TARGETS[kind]), va="bottom")
        figure.legend(handles=_legend(medians), loc="outside right upper")
        return svg(figure)


def _draw(axes: Axes, kind: str, measured: Sequence[Measured], place: int) -> None:
    names: list[str] = []
    for call in measured[-1].waits:
        if call[0] == kind:
            name, _, page = call[1].partition(": ")
            if name not in names:
                names.append(name)
            axes.plot(
                [each.orders for each in measured],
                [each.percentiles(call)[place] for each in measured],
                STYLES[page],
                color=COLOURS[names.index(name) % len(COLOURS)],
                marker=".",
                label=name if STYLES[page] == "-" else None,
            )
    axes.set(xscale="log", yscale="log", xlabel="orders")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")


def _legend(axes: Axes) -> list[Artist]:
    """A colour for each list, and a style for each place in it."""
    handles, _ = axes.get_legend_handles_labels()
    used = {line.get_linestyle() for line in axes.get_lines()}
    places = [
        Line2D([], [], color="black", linestyle=style, label=page)
        for page, style in STYLES.items()
        if page and used > {"-"} and style in used
    ]
    return [*handles, *places]


# The page.


def _page(measured: Sequence[Measured], command: str, missed: Sequence[str]) -> str:
    last = measured[-1]
    verdict = "\n".join(f"- {line}" for line in missed) or "Every call meets its target at every size."
    sections = "\n\n".join(_section(kind, measured) for kind in (ONE, BY_CURSOR, BY_PAGE))
    sizes = "\n".join(
        f"| {each.orders:,} | {each.database_bytes / 1e6:,.0f} MB | {each.fill_seconds:,.0f} s |"
        for each in measured
    )
    rounds = len(next(iter(last.waits.values())))
    return f"""# What a read costs, by number of orders

Written by `{command}`, which starts all that it needs.

For each size, a PostgreSQL of its own, with default settings, was filled with two years of a shop's orders
(`benchmarks/fill.py`). The API's own process was asked by one client, one call at a time, {rounds} times each
after a warm-up: all calls in turn, in an order by chance. Milliseconds from the sending of a call to the last
byte of its answer; pages have {LIMIT} orders.

| | |
|---|---|
| machine | {machine()} |
| this repository | {commit()} |
| versions | PostgreSQL {last.postgres}, {packages("fastapi", "uvicorn", "sqlalchemy", "asyncpg")} |

| orders | database | filled in |
|---:|---:|---:|
{sizes}

## Against the targets

The 99th percentile is at most {TARGETS[BY_CURSOR]:g} ms by cursor, and {TARGETS[BY_PAGE]:g} ms by page with
the exact total, at every size.

{verdict}

{sections}

## Plans

[`plans/`](plans) has each statement of each call, how PostgreSQL ran it among {last.orders:,} orders, and
whether it planned it for these parameters or, as it may after five runs, once for any: `EXPLAIN (ANALYZE,
BUFFERS)` of the prepared statement.
"""


def _section(kind: str, measured: Sequence[Measured]) -> str:
    target = TARGETS.get(kind, float("inf"))
    lines = [
        f"## {kind}",
        "",
        f"![{kind}: cost against number of orders]({_slug(kind)}.svg)",
        "",
        "Median / 99th percentile in ms, by number of orders; **bold** misses the target.",
        "",
        "| | " + " | ".join(f"{each.orders:,}" for each in measured) + " |",
        "|---|" + "---:|" * len(measured),
    ]
    for call in measured[-1].waits:
        if call[0] == kind:
            cells = [_cell(*each.percentiles(call), target) for each in measured]
            lines.append(f"| {call[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(median: float, tail: float, target: float) -> str:
    cell = f"{median:.1f} / {tail:.1f}"
    return f"**{cell}**" if tail > target else cell
