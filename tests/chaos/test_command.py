import signal
from pathlib import Path

import psutil
import pytest

from chaos.stack import PROGRAMS, SERVERS
from tests.processes import run_to_its_end, started

INTERRUPTED = 130


@pytest.mark.parametrize(
    "wrong",
    [("--faults", "0"), ("--seed", "x"), ("--only", "rust"), ("--mutant", "?"), ("--keep", "/nowhere")],
)
async def test_a_wrong_argument_is_told_and_starts_nothing(wrong: tuple[str, str]) -> None:
    code, said = await run_to_its_end("-m", "chaos", *wrong)

    assert code == 2
    assert wrong[0] in said[-1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_when_told_to_stop_it_stops_everything(number: signal.Signals, tmp_path: Path) -> None:
    async with started("-m", "chaos", "--keep", str(tmp_path)) as run:
        await run.until_said("fault 1 of")
        family = psutil.Process(run.child.pid).children(recursive=True)
        code = await run.asked_to_stop(number)

    assert code == INTERRUPTED
    assert len(family) > len(PROGRAMS) + len(SERVERS)
    assert [it for it in family if it.is_running() and it.status() != psutil.STATUS_ZOMBIE] == []
    assert "stopped" in run.log[-1]
