"""The measurement of growth, on few orders: that it measures what it says, and leaves nothing behind."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.command import CannotMeasure
from benchmarks.growth_parts import Watch, check
from benchmarks.growth_report import (
    MIB,
    Cache,
    Heat,
    Moment,
    Report,
    Swept,
    plot_memory,
    plot_sweep,
    targets_table,
    write,
)
from load.engine import CallFailed, run
from tests.processes import run_to_its_end, started

GROWTH = ("-m", "benchmarks.growth")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the command keeps its data: a folder that PostgreSQL's own user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="orders-growth-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    table = page[page.index(f"\n## {heading}\n") :].partition("\n|")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_short_form_measures_all_of_it_and_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    async with started(*GROWTH, "--short", "--out", str(tmp_path), TMPDIR=str(temporary)) as run:
        code = await run.child.wait()  # it takes a minute

    assert code == 0, run.log
    assert "| each of them once | 200 orders once, 200 promotions in all | met |" in run.log
    page = (tmp_path / "README.md").read_text()
    assert "Written by `python -m benchmarks.growth --short`" in page
    assert "signalled 200 orders" in page
    beside = re.search(r"During the sweep (\d+) orders were placed", page)
    assert beside is not None
    cached = 200 + int(beside[1])
    assert f"had 200 orders in its cache when the sweep began, and {cached} when it ended" in page
    programs = [row[0] for row in rows_of(page, "A sweep")]
    assert programs == ["postgres", "temporal", "order worker 1", "promotion worker", "api"]
    assert all(float(cell) > 0 for row in rows_of(page, "A sweep") for cell in row[1:6])
    workers = rows_of(page, "More workers")
    assert [row[0] for row in workers] == ["1", "2", "4"]
    assert all(float(row[1]) > 0 for row in workers)
    assert [row[0] for row in rows_of(page, "The memory of cached workflows")] == ["0", "50", "100", "200"]
    for plot in ("sweep", "memory", "cache"):
        assert (tmp_path / f"{plot}.svg").read_text().rstrip().endswith("</svg>")
    assert os.listdir(temporary) == []  # noqa: PTH208 - a Path would count as blocking


@pytest.mark.slow
async def test_ctrl_c_stops_everything_and_removes_the_data(temporary: Path, tmp_path: Path) -> None:
    options = ("--orders", "100000", "--out", str(tmp_path / "out"))

    async with started(*GROWTH, *options, TMPDIR=str(temporary)) as run:
        await run.until_said("of 100000")
        children = psutil.Process(run.child.pid).children(recursive=True)
        run.send(signal.SIGINT)
        code = await run.child.wait()  # its workers may take ten seconds each to finish

    assert code == 130
    assert run.log[-1].endswith("interrupted; everything is stopped and removed")
    assert len(children) >= 4
    assert [child for child in children if child.is_running()] == []
    assert os.listdir(temporary) == []  # noqa: PTH208 - a Path would count as blocking
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    ["--orders=0", "--orders=100001", "--orders=1e3", "--seconds=0", "--seconds=inf", "--seconds=nan"],
)
async def test_what_cannot_be_measured_is_refused(option: str) -> None:
    code, log = await run_to_its_end(*GROWTH, option)

    assert code == 2
    assert f"argument {option.partition('=')[0]}: must be " in log[-1]


class RigOf:
    """A rig whose programs take what they are said to."""

    def __init__(self, **memory: int) -> None:
        self.memory_bytes = memory.copy


def test_a_program_that_has_ended_ends_the_measurement() -> None:
    watch = Watch(RigOf(postgres=1, temporal=1))  # type: ignore[arg-type]
    watch.look(7)
    assert [(it.pending, it.memory) for it in watch.moments] == [(7, {"postgres": 1, "temporal": 1})]

    with pytest.raises(CannotMeasure, match=r"^temporal has ended$"):
        Watch(RigOf(postgres=1, temporal=0)).look()  # type: ignore[arg-type]


async def test_calls_that_fail_end_the_measurement() -> None:
    async def call() -> None:
        raise CallFailed("500", "500 Internal\nServer Error")

    result = await run(lambda: ("lifecycle", call), clients=1, calls=3)

    with pytest.raises(
        CannotMeasure, match=r"^3 calls failed, the first of them: 500 Internal Server Error$"
    ):
        check(result)


def a_sweep(*private: int, seconds: float = 100.0) -> Swept:
    """A sweep of three orders; what its worker takes before any order, before the sweep, and in it."""
    idle, before, *swept = (it * MIB for it in private)
    step = seconds / (len(swept) - 1)
    moments = [
        Moment(seconds=0.0, pending=None, memory={"order worker 1": idle}),
        Moment(seconds=9.0, pending=3, memory={"order worker 1": before}),
        *(
            Moment(seconds=10.0 + number * step, pending=0, memory={"order worker 1": it})
            for number, it in enumerate(swept)
        ),
    ]
    return Swept(
        orders=3,
        placed_after=5.0,
        began=10.0,
        ended=10.0 + seconds,
        signalling_seconds=1.0,
        signalled=3,
        promoted_once=3,
        promotions=3,
        cached=(3, 3),
        cpu={"order worker 1": 1.0},
        writes=[0.02, 0.03, 1.5],
        accepted=1,
        moments=moments,
    )


def a_report(swept: Swept) -> Report:
    heats = [
        Heat(
            workers=workers,
            lifecycles=number,
            accepted=workers - 1,
            seconds=2.0,
            cpu={"client": client, "order worker": 2.0},
        )
        for number, client in ((20, 1.0), (40, 3.0), (24, 1.2))
        for workers in (1, 2)
    ]
    caches = [Cache(workflows=number, private=(50 + number) * MIB) for number in (0, 10, 20, 40)]
    return Report(servers="", clients=24, seconds=2.0, swept=swept, heats=heats, caches=caches)


def verdicts(swept: Swept) -> list[str]:
    lines = targets_table(a_report(swept)).splitlines()[2:]
    return [line.split("|")[-2].strip() for line in lines]


def test_targets_that_are_met_are_said_to_be() -> None:
    assert verdicts(a_sweep(50, 90, 100, 100, 110, seconds=300)) == ["met"] * 3


@pytest.mark.parametrize(
    ("swept", "missed"),
    [
        (a_sweep(50, 90, 100, 100, seconds=301), 0),
        (replace(a_sweep(50, 90, 100, 100), promoted_once=2, promotions=2), 1),
        (replace(a_sweep(50, 90, 100, 100), promotions=4), 1),
        (replace(a_sweep(50, 90, 100, 100), orders=4), 1),
        (a_sweep(50, 90, 100, 100, 100, 111), 2),
    ],
)
def test_a_target_that_is_missed_is_said_to_be(swept: Swept, missed: int) -> None:
    assert [position for position, it in enumerate(verdicts(swept)) if it != "met"] == [missed]


def test_what_a_program_takes_to_begin_with_is_not_growth() -> None:
    warmed_up = a_sweep(50, 50, 60, 100, 100, 100, 70).memory("order worker 1")

    assert warmed_up.is_flat
    found = (warmed_up.idle, warmed_up.start, warmed_up.first_half, warmed_up.second_half, warmed_up.end)
    assert [it / MIB for it in found] == [50, 50, 100, 100, 70]


def test_the_page_has_medians_spread_and_what_a_cached_workflow_takes(tmp_path: Path) -> None:
    write(tmp_path, a_report(a_sweep(50, 90, 100, 100)), "command")

    page = (tmp_path / "README.md").read_text()
    assert rows_of(page, "More workers") == [
        ["1", "12.0", "10.0 to 20.0", "0"],
        ["2", "12.0", "10.0 to 20.0", "3"],
    ]
    assert "| 1 | 1.2 (50) | 2.0 (83) | 3.2 (133) |" in page
    assert "**1024 KiB for each cached workflow** (least squares), beside 50 MiB without any" in page
    assert "the default, an order worker takes about 1,050 MiB" in page


def test_the_same_figures_give_the_same_bytes() -> None:
    for plot in (plot_sweep, plot_memory):
        assert plot(a_sweep(50, 90, 100, 100)) == plot(a_sweep(50, 90, 100, 100))
        assert plot(a_sweep(50, 90, 100, 100)) != plot(a_sweep(50, 90, 100, 120, seconds=90))
