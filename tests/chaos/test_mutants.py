"""The checker can fail: each system that is broken on purpose is found out, and the whole one is not."""

import sys
from pathlib import Path

import pytest

from chaos.mutants import MUTANTS
from chaos.report import PASSED, VIOLATED
from tests.processes import started

pytestmark = pytest.mark.slow

FAULT = {
    "no-version-guard": "repeat later",
    "no-deduplication": "delay",
    "extra-transition": "delay",
    "acknowledge-first": "kill",
}
SEES = {
    "no-version-guard": "Violated: PostgreSQL's versions never go back",
    "no-deduplication": "Violated: The workflow's answer is the fold of its history",
    "extra-transition": "Violated: Every step is in the transition table",
    "acknowledge-first": "Violated: Every acknowledged order exists",
}
A_RUN = ("-m", "chaos", "--seed", "7", "--faults", "3", "--commands", "200")


async def chaos(folder: Path, *more: str) -> tuple[int, str]:
    """The exit code and the report of a run."""
    arguments = (*A_RUN, "--keep", str(folder), *more)
    async with started(*arguments, PYTHONWARNINGS="default") as run:
        code = await run.child.wait()
    return code, "\n".join(run.log)


def test_every_mutant_is_tried() -> None:
    assert set(MUTANTS) == set(FAULT) == set(SEES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", sorted(FAULT))
async def test_a_broken_system_is_found_out(mutant: str, tmp_path: Path) -> None:
    code, report = await chaos(tmp_path, "--mutant", mutant, "--only", FAULT[mutant])

    sys.stdout.write(report)
    assert code == VIOLATED
    assert SEES[mutant] in report


@pytest.mark.timeout(300)
async def test_the_whole_system_is_not(tmp_path: Path) -> None:
    code, report = await chaos(tmp_path, "--only", "repeat later", "--only", "delay")

    sys.stdout.write(report)
    assert code == PASSED
