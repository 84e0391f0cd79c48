"""What `benchmarks.bench` has measured, as a page, plots, and a file of every figure."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.bench_figures import PROCESSES, ROWS, Report, cpu_of_a_call
from benchmarks.machine import commit, machine, packages
from benchmarks.plots import SETTINGS, svg


def table_of(report: Report) -> str:
    """The table, as Markdown."""
    return "\n".join(_table(report)) + "\n"


def _table(report: Report) -> Iterator[str]:
    yield "| what | orders | beside | | ratio (spread) | target | |"
    yield "|---|--:|---|--:|--:|---|---|"
    for row in ROWS:
        ratios = row.ratios(report)
        verdict = "" if row.target == "-" else "met" if row.is_met(report) else "**missed**"
        yield (
            f"| {row.name} | {_short(median(row.product(report)))} | {row.beside} "
            f"| {_short(median(row.other(report)))} "
            f"| {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {row.target} | {verdict} |"
        )


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}"  # noqa: PLR2004 - three digits


def _cpu_table(report: Report, contest: str) -> Iterator[str]:
    contenders = _contenders(report, contest)
    used = {name: cpu_of_a_call(report, contest, name) for name in contenders}
    processes = [it for it in PROCESSES if any(it in used[name] for name in contenders)]
    yield "| | " + " | ".join(processes) + " | all |"
    yield "|---|" + "--:|" * (len(processes) + 1)
    for name in contenders:
        cells = " | ".join(f"{used[name].get(it, 0):.1f}" for it in processes)
        yield f"| {name} | {cells} | {sum(used[name].values()):.1f} |"


def _contenders(report: Report, contest: str) -> list[str]:
    return sorted({it.contender for it in report.measured if it.contest == contest})


def write(folder: Path, report: Report, command: str) -> None:
    """Write the page, the plots, and every figure, those of an earlier run replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(_page(report, command))
    (folder / "ratios.svg").write_bytes(_plot_ratios(report))
    (folder / "cpu.svg").write_bytes(_plot_cpu(report))
    (folder / "figures.json").write_text(json.dumps(_figures(report), indent=1) + "\n")


def _figures(report: Report) -> list[dict[str, object]]:
    return [
        {
            "contest": it.contest,
            "contender": it.contender,
            "round": it.round,
            "per_second": round(it.per_second, 2),
            "cpu_seconds": {name: round(seconds, 3) for name, seconds in it.cpu.items()},
            "milliseconds": {
                kind: {
                    f"p{100 * share:g}": round(it.milliseconds(kind, share), 2) for share in (0.5, 0.9, 0.99)
                }
                for kind in it.latencies
            },
        }
        for it in report.measured
    ]


def _page(report: Report, command: str) -> str:
    lives = "\n".join(
        f"| {name} | {sum(life.events.values())} | {life.history_bytes:,} | {life.transitions} "
        f"| {life.actions} | "
        + ", ".join(
            f"{number} {kind.lower().replace('_', ' ')}" for kind, number in sorted(life.events.items())
        )
        + " |"
        for name, life in report.lives.items()
    )
    return f"""# What durability costs

Written by `{command}`, which starts all that it needs and measures everything in one run, on the same two
servers. **orders** is the product, one API and one worker process; **floor** a bare Temporal workflow that
gets the same messages by updates (or by signals) and does nothing, called without HTTP; **crud** the same
API in FastAPI and SQLAlchemy, with a scheduler in its process and no durability but that of its own
transaction; **bare** a select and its answer as JSON, in Starlette. {report.rounds} rounds, each contender
in each, contests and contenders in an order by chance; medians, and the spread of the ratios. The client
runs on the same machine.

| | |
|---|---|
| machine | {machine()} |
| this repository | {commit()} |
| servers | {report.versions} |
| packages | {packages("temporalio", "fastapi", "uvicorn", "uvloop", "sqlalchemy", "asyncpg", "aiohttp")} |

{table_of(report)}
![ratios](ratios.svg)

## Processor time for one call, in milliseconds

A whole lifecycle: an order is created, and moved three times.

{chr(10).join(_cpu_table(report, "lifecycle"))}

![processor time](cpu.svg)

A create:

{chr(10).join(_cpu_table(report, "create"))}

A read by id:

{chr(10).join(_cpu_table(report, "get"))}

## What a life leaves in Temporal

Actions as [Temporal Cloud](https://docs.temporal.io/cloud/actions) counts them.

| | events | bytes | state transitions | actions | |
|---|--:|--:|--:|--:|---|
{lives}

[`figures.json`](figures.json) has every figure of every round.
"""


def _plot_ratios(report: Report) -> bytes:
    """The product's figures as multiples of the others'."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 0.45 * len(ROWS) + 1), layout="constrained")
        axes = figure.subplots()
        for position, row in enumerate(reversed(ROWS)):
            ratios = row.ratios(report)
            axes.plot([min(ratios), max(ratios)], [position, position], color="#888888", linewidth=3)
            axes.plot([median(ratios)], [position], "o", color="#1f77b4")
            for bound in (row.most_ratio, row.least_ratio):
                if bound is not None:
                    axes.plot([bound], [position], "|", color="#d62728", markersize=16)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set(
            xscale="log",
            xlabel="orders as a multiple (point: median; line: spread; red: target)",
            yticks=range(len(ROWS)),
            yticklabels=[f"{row.name} / {row.beside}" for row in reversed(ROWS)],
        )
        return svg(figure)


def _plot_cpu(report: Report) -> bytes:
    """Processor time of a lifecycle, stacked by program."""
    contenders = _contenders(report, "lifecycle")
    used = {name: cpu_of_a_call(report, "lifecycle", name) for name in contenders}
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 3.5), layout="constrained")
        axes = figure.subplots()
        left = dict.fromkeys(contenders, 0.0)
        for process in PROCESSES:
            widths = [used[name].get(process, 0.0) for name in contenders]
            if any(widths):
                axes.barh(contenders, widths, left=list(left.values()), label=process)
                left = {name: left[name] + used[name].get(process, 0.0) for name in contenders}
        axes.set(xlabel="ms of processor time for a lifecycle")
        axes.legend(ncols=len(PROCESSES), loc="upper center", bbox_to_anchor=(0.5, 1.15))
        return svg(figure)
