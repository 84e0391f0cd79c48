"""What `benchmarks.bench` has measured, row by row beside what it should be."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from temporalio.api.enums.v1 import EventType
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import WorkflowHistory

from load.engine import percentile

PROCESSES = ("client", "api", "worker", "floor", "crud", "bare", "temporal", "postgres")
"""In the order in which a call meets them."""


ABSURD = 20.0
"""A ratio that fails the short form."""


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
    """What one whole life has left in Temporal: events by type, and what Temporal Cloud would bill.

    Each of the `transitions` of its state was a write of Temporal's own database.
    """

    events: Mapping[str, int]
    actions: int
    history_bytes: int = 0
    transitions: int = 0


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

    `most` and `least` bound the figure itself, `most_ratio` and `least_ratio` its ratio to the other's.
    """

    name: str
    contest: str
    figure: Take
    beside: str
    most: float | None = None
    least: float | None = None
    most_ratio: float | None = None
    least_ratio: float | None = None

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
        if not 1 / ABSURD <= ratio <= ABSURD
    ]


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


def life_of(history: WorkflowHistory, described: WorkflowExecutionInfo) -> Life:
    """What a history holds, and what the server says of it."""
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
    return Life(
        events=names,
        actions=actions + len(tasks_with_local_activities),
        history_bytes=described.history_size_bytes,
        transitions=described.state_transition_count,
    )


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
