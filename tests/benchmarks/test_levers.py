"""What each lever is worth: that a lever changes what it says, and how that is told."""

import pytest

from benchmarks.levers import LEVERS, PROGRAMS, Heat, Lever, Outcome, page_of, table_of
from benchmarks.variants import VARIANTS
from tests.processes import run_to_its_end, started


def a_heat(per_second: float, milliseconds: float) -> Heat:
    return Heat(per_second=per_second, cpu=dict.fromkeys(PROGRAMS, milliseconds))


def test_a_row_has_the_medians_and_the_spread_of_neighbours() -> None:
    outcome = Outcome(
        lever=Lever(name="half of it"),
        shipped=[a_heat(10, 4), a_heat(20, 5), a_heat(30, 6)],
        changed=[a_heat(5, 1), a_heat(5, 2), a_heat(30, 3)],
    )

    assert table_of([outcome]).splitlines()[2] == (
        "| half of it | 5.0 (20.0) | 0.50 (0.25-1.00) | " + " | ".join(["2.0 (5.0)"] * 4) + " |"
    )
    assert "Written by `the command`" in page_of([outcome], "the command")


def test_every_variant_is_measured() -> None:
    assert {lever.variant for lever in LEVERS} == set(VARIANTS)


async def test_a_lever_that_there_is_not_is_told_with_those_that_there_are() -> None:
    code, log = await run_to_its_end("-m", "benchmarks.levers", "--only", "magic")

    assert code == 2
    assert "four_cached_workflows" in " ".join(log)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_lever_is_measured_in_turn_with_the_shipped_system() -> None:
    # One for each way of changing something: the client, the workflow and the worker, the API.
    variants = ("compressed", "regular_activities_not_eager", "looks_at_fixed_times")
    only = [part for name in variants for part in ("--only", name)]
    async with started("-m", "benchmarks.levers", "--rounds", "1", "--seconds", "0.5", *only) as run:
        code = await run.child.wait()  # it takes minutes

    assert code == 0, run.log
    rows = [line for line in run.log if line.startswith("| ")][1:]
    assert len(rows) == len(variants)
