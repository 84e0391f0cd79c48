from collections import Counter
from dataclasses import replace

from chaos.order_in_time import observe_reads
from chaos.report import INCONCLUSIVE, PASSED, VIOLATED, Result, write
from tests.chaos.hand import PLACED, Hand


def a_fault(number: int, begin: float, end: float) -> dict[str, object]:
    return {"fault": number, "at": begin, "until": end, "kind": "kill", "target": "postgres"}


def a_result(run: Hand) -> Result:
    return Result(
        seed=7,
        command_line="scripts/chaos --seed 7",
        mutant=None,
        record=run.record,
        findings=run.findings(),
        observed=observe_reads(run.record),
        quiet=run.quiet,
        orders=1,
        events=20,
        failed_tasks=Counter(),
        restarts={"postgres": 2},
        load_seconds=10.0,
        all_seconds=20.0,
        servers="PostgreSQL 18.6",
    )


def test_a_run_that_kept_every_promise_under_faults_passes() -> None:
    assert a_result(Hand(faults=[a_fault(1, 0.0, 10.0)])).exit_code == PASSED


def test_a_violation_fails_the_run_and_is_written_down() -> None:
    run = Hand(faults=[a_fault(1, 0.0, 10.0)], row=None)
    result = a_result(run)

    assert result.exit_code == VIOLATED
    assert "is missing" in write(result)


def test_too_few_commands_acknowledged_during_faults_prove_nothing() -> None:
    result = a_result(Hand(faults=[a_fault(1, 20.0, 30.0)]))

    assert result.exit_code == INCONCLUSIVE
    assert "inconclusive" in write(result)


def test_a_single_command_acknowledged_during_a_fault_proves_too_little() -> None:
    assert a_result(Hand(faults=[a_fault(1, 0.0, 3.0)])).exit_code == INCONCLUSIVE


def test_many_faults_in_which_nothing_succeeded_prove_nothing() -> None:
    quiet_ones = [a_fault(number, 20.0, 30.0) for number in (2, 3, 4)]
    busy = [replace(PLACED, id=f"c1-1.{n}", answered=2.5, replayed=True) for n in range(2, 12)]
    run = Hand(faults=[a_fault(1, 0.0, 10.0), *quiet_ones])
    run.calls += busy

    assert a_result(run).exit_code == INCONCLUSIVE


def test_an_invariant_that_nothing_was_held_against_proves_nothing() -> None:
    run = Hand(faults=[a_fault(1, 0.0, 10.0)], rows=[])

    assert a_result(run).exit_code == INCONCLUSIVE


def test_the_report_names_what_was_done() -> None:
    text = write(a_result(Hand(faults=[a_fault(1, 0.0, 10.0)])))

    assert "# Chaos, seed 7: no violation" in text
    assert "| kill | 1 | 3 | postgres 1 |" in text
    assert "| change | signal | 0 | 1 | 0 | 0 | 0 |" in text
