"""What `benchmarks.bench` has measured, as a page, plots, and a file of every figure."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg
import matplotlib as mpl
from matplotlib.figure import Figure
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client, WorkflowHistory

from benchmarks.plots import SETTINGS, machine, packages, svg
from load.engine import percentile

PROCESSES = ("client", "api", "worker", "floor", "crud", "bare", "temporal", "postgres")
"""In the order in which a call meets them."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One contender in one round of one contest. Seconds; `cpu` by program."""

    contest: str
    contender: str
    round: int
    latencies: Mapping[str, Sequence[float]]
    elapsed: float
    cpu: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Calls that were answered."""
        return sum(map(len, self.latencies.values())) / self.elapsed

    def milliseconds(self, kind: str, share: float) -> float:
        """A percentile of one kind of call."""
        return 1_000 * percentile(self.latencies[kind], share)


@dataclass(frozen=True, kw_only=True)
class Life:
    """What one whole life has left in Temporal: events by type, and what Temporal Cloud would bill."""

    events: Mapping[str, int]
    actions: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run."""

    rounds: int
    measured: Sequence[Measured]
    lives: Mapping[str, Life]
    versions: str

    def of(self, contest: str, contender: str) -> list[Measured]:
        """What a contender has done, by round."""
        found = [it for it in self.measured if (it.contest, it.contender) == (contest, contender)]
        return sorted(found, key=lambda it: it.round)


Take = Callable[[Measured], float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of the product beside the same of another, and what it should be.

    `most` and `least` bound the figure itself, `most_ratio` and `least_ratio` its ratio to the other's;
    what is `absurd` fails the short run on any machine.
    """

    name: str
    contest: str
    figure: Take
    beside: str
    most: float | None = None
    least: float | None = None
    most_ratio: float | None = None
    least_ratio: float | None = None
    absurd: float = 20.0

    def product(self, report: Report) -> list[float]:
        """The product's figure in each round."""
        return [self.figure(it) for it in report.of(self.contest, "orders")]

    def other(self, report: Report) -> list[float]:
        """The other's."""
        return [self.figure(it) for it in report.of(self.contest, self.beside)]

    def ratios(self, report: Report) -> list[float]:
        """The one by the other, in each round."""
        return [ours / theirs for ours, theirs in zip(self.product(report), self.other(report), strict=True)]

    @property
    def target(self) -> str:
        """What is asked for, in words."""
        bounds = (
            ("≤ {:g}", self.most),
            ("≥ {:,.0f}", self.least),
            ("≤ {:g} x", self.most_ratio),
            ("≥ {:g} x", self.least_ratio),
        )
        return ", ".join(form.format(bound) for form, bound in bounds if bound is not None) or "-"

    def is_met(self, report: Report) -> bool:
        """Whether the medians are what is asked for."""
        figure, ratio = median(self.product(report)), median(self.ratios(report))
        return (
            (self.most is None or figure <= self.most)
            and (self.least is None or figure >= self.least)
            and (self.most_ratio is None or ratio <= self.most_ratio)
            and (self.least_ratio is None or ratio >= self.least_ratio)
        )


def _wait(kind: str, share: float) -> Take:
    return lambda it: it.milliseconds(kind, share)


def _rate(it: Measured) -> float:
    return it.per_second


ROWS = (
    Row(
        name="create, one client: p50 ms",
        contest="one client",
        figure=_wait("create", 0.5),
        beside="floor",
        most=50,
        most_ratio=1.4,
    ),
    Row(
        name="create, one client: p99 ms",
        contest="one client",
        figure=_wait("create", 0.99),
        beside="floor",
        most=150,
    ),
    Row(
        name="status change, one client: p50 ms",
        contest="one client",
        figure=_wait("change", 0.5),
        beside="floor",
        most=30,
        most_ratio=1.5,
    ),
    Row(
        name="status change, one client: p99 ms",
        contest="one client",
        figure=_wait("change", 0.99),
        beside="floor",
    ),
    Row(name="lifecycles a second", contest="lifecycle", figure=_rate, beside="floor", least_ratio=0.85),
    Row(name="lifecycles a second", contest="lifecycle", figure=_rate, beside="floor, by signals"),
    Row(name="lifecycles a second", contest="lifecycle", figure=_rate, beside="crud"),
    Row(name="creates a second", contest="create", figure=_rate, beside="floor"),
    Row(name="creates a second", contest="create", figure=_rate, beside="crud", least_ratio=1.0),
    Row(
        name="get by id, a second",
        contest="get",
        figure=_rate,
        beside="bare",
        least=1_200,
        least_ratio=0.45,
    ),
    Row(name="get by id, a second", contest="get", figure=_rate, beside="crud", least_ratio=10),
    Row(name="list of 50, a second", contest="list", figure=_rate, beside="bare"),
    Row(name="list of 50, a second", contest="list", figure=_rate, beside="crud", least_ratio=10),
)


def broken(report: Report) -> list[str]:
    """What is so far off that something must be broken, on any machine."""
    return [
        f"{row.name}: {ratio:.3f} x {row.beside}"
        for row in ROWS
        for ratio in [median(row.ratios(report))]
        if not 1 / row.absurd <= ratio <= row.absurd
    ]


# A life.

# https://docs.temporal.io/cloud/actions: a start, a signal, an update, a change of search attributes and an
# activity are one action each; the local activities of one workflow task are one together.
_BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
}


def life_of(history: WorkflowHistory) -> Life:
    """What a history holds."""
    types = Counter(event.event_type for event in history.events)
    tasks_with_local_activities = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    }
    names = Counter(
        {EventType.Name(kind).removeprefix("EVENT_TYPE_"): number for kind, number in types.items()}
    )
    actions = sum(number for kind, number in types.items() if kind in _BILLED)
    return Life(events=names, actions=actions + len(tasks_with_local_activities))


async def versions(client: Client, database_url: str) -> str:
    """The versions of the servers."""
    information = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        postgres = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return f"Temporal server {information.server_version}, PostgreSQL {postgres}"


# In words.


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


def cpu_of_a_call(report: Report, contest: str, contender: str) -> dict[str, float]:
    """Milliseconds of processor time for one call, by program: the median of the rounds."""
    rounds = report.of(contest, contender)
    calls = [sum(map(len, it.latencies.values())) for it in rounds]
    used = {
        process: median(
            1_000 * it.cpu.get(process, 0) / number for it, number in zip(rounds, calls, strict=True)
        )
        for process in PROCESSES
    }
    return {process: milliseconds for process, milliseconds in used.items() if milliseconds >= 0.05}  # noqa: PLR2004


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
        f"| {name} | {sum(life.events.values())} | {life.actions} | "
        + ", ".join(
            f"{number} {kind.lower().replace('_', ' ')}" for kind, number in sorted(life.events.items())
        )
        + " |"
        for name, life in report.lives.items()
    )
    return f"""# What durability costs

Written by `{command}`, which starts all that it needs and measures everything in one run, on the same two
servers. **orders** is the product, one API and one worker process; **floor** a bare Temporal workflow that
gets the same messages by updates (or by signals) and does nothing, called without HTTP; **crud** the same API
in FastAPI and SQLAlchemy, with a scheduler in its process and no durability but that of its own transaction;
**bare** a select and its answer as JSON, in Starlette. {report.rounds} rounds, each contender in each of
them, in an order by chance; medians, and the spread of the ratios. The client runs on the same machine.

| | |
|---|---|
| machine | {machine()} |
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

| | events | actions | |
|---|--:|--:|---|
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
