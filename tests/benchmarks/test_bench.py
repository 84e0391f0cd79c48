"""What the report of `scripts/bench` makes of its figures."""

from collections.abc import Mapping

import pytest
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import WorkflowHistory

from benchmarks.bench_figures import ROWS, Life, Measured, Report, broken, cpu_of_a_call, life_of
from benchmarks.bench_report import table_of, write
from tests.workflows.record_histories import HISTORIES

# What each contender takes for a call, in seconds.
ON_TARGET = {"orders": 0.0005, "floor": 0.001, "floor, by signals": 0.001, "crud": 0.006, "bare": 0.0004}


def a_report(waits: Mapping[str, float] = ON_TARGET, rounds: int = 3) -> Report:
    """A run in which every call of a contender took as long."""
    contests = {(row.contest, name) for row in ROWS for name in ("orders", row.beside)}
    measured = [
        Measured(
            contest=contest,
            contender=name,
            round=number,
            latencies={kind: [waits[name]] * 100 for kind in ("create", "change")},
            elapsed=200 * waits[name],
            cpu={"client": 0.2, "temporal": 0.4},
        )
        for number in range(1, rounds + 1)
        for contest, name in sorted(contests)
    ]
    lives = {"orders": Life(events={"TIMER_STARTED": 1}, actions=1)}
    return Report(rounds=rounds, measured=measured, lives=lives, versions="none")


def test_what_reaches_its_target_is_met() -> None:
    table = table_of(a_report())

    assert "missed" not in table
    assert (
        "| create, one client: p50 ms | 0.5 | floor | 1.0 | 0.50 (0.50-0.50) | ≤ 50, ≤ 1.4 x | met |" in table
    )
    assert (
        "| get by id, a second | 2,000 | bare | 2,500 | 0.80 (0.80-0.80) | ≥ 1,200, ≥ 0.45 x | met |" in table
    )


@pytest.mark.parametrize(
    ("waits", "missed"),
    [
        ({"orders": 0.051, "floor": 0.051}, "create, one client: p50 ms"),
        ({"orders": 0.0015}, "create, one client: p50 ms"),
        ({"orders": 0.0016}, "status change, one client: p50 ms"),
        ({"orders": 0.0012}, "lifecycles a second"),
        ({"bare": 0.0002}, "get by id, a second"),
        ({"orders": 0.0009, "bare": 0.0009}, "get by id, a second"),
        ({"crud": 0.004}, "list of 50, a second"),
    ],
    ids=str,
)
def test_what_does_not_is_missed(waits: dict[str, float], missed: str) -> None:
    lines = table_of(a_report(ON_TARGET | waits)).splitlines()

    assert any(line.startswith(f"| {missed} ") and "**missed**" in line for line in lines)


def test_a_ratio_is_one_of_the_same_round() -> None:
    report = a_report(rounds=1)
    slower = a_report({name: 3 * wait for name, wait in ON_TARGET.items()}, rounds=1)
    again = [Measured(**{**it.__dict__, "round": 2}) for it in slower.measured]
    both = Report(rounds=2, measured=[*report.measured, *again], lives={}, versions="")

    assert [row.ratios(both) for row in ROWS] == [pytest.approx(row.ratios(report) * 2) for row in ROWS]


def test_only_what_is_absurd_is_broken() -> None:
    assert broken(a_report()) == []
    assert broken(a_report(ON_TARGET | {"orders": 0.004})) == []
    assert len(broken(a_report(ON_TARGET | {"orders": 1.0}))) == len(ROWS)


def test_processor_time_is_for_each_call() -> None:
    used = cpu_of_a_call(a_report(), "lifecycle", "orders")

    assert used == pytest.approx({"client": 1.0, "temporal": 2.0})


def test_a_life_is_counted_as_it_is_billed() -> None:
    path = HISTORIES / "2-order-delivered-1.json"
    described = WorkflowExecutionInfo(history_size_bytes=5_000, state_transition_count=12)
    life = life_of(WorkflowHistory.from_json("order", path.read_text()), described)

    signals = life.events["WORKFLOW_EXECUTION_SIGNALED"]
    attributes = life.events["UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"]
    assert (signals, attributes, life.events["MARKER_RECORDED"]) == (3, 3, 4)
    assert life.actions == 1 + signals + attributes + 4
    assert sum(life.events.values()) <= 30
    assert (life.history_bytes, life.transitions) == (5_000, 12)


def test_everything_is_written_and_the_same_figures_make_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")

    for folder in (first, second):
        write(folder, a_report(), "scripts/bench")

    files = {path.name: path.read_bytes() for path in first.iterdir()}
    assert set(files) == {"README.md", "ratios.svg", "cpu.svg", "figures.json"}
    assert files == {path.name: path.read_bytes() for path in second.iterdir()}
