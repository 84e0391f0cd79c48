"""The measurement of reads, on few orders: that it measures what it says, and leaves nothing behind."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.command import CannotMeasure
from benchmarks.scale import check, parse
from benchmarks.scale_calls import BY_CURSOR, BY_PAGE, Call
from benchmarks.scale_report import Measured, plot, write
from database.queries import MOST_LINES
from tests.processes import started

SCALE = ("-m", "benchmarks.scale")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the command keeps its data, open to PostgreSQL's own user."""
    folder = Path(tempfile.mkdtemp(prefix="orders-scale-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
async def test_a_run_writes_table_plots_and_plans_and_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    options = ("--sizes", "200", "--rounds", "2", "--out", str(tmp_path))

    async with started(*SCALE, *options, TMPDIR=str(temporary)) as run:
        code = await run.child.wait()  # many processes, one after the other

    assert code == 0
    page = (tmp_path / "README.md").read_text()
    assert "| | 200 |" in page
    assert "Written by `python -m benchmarks.scale --sizes 200 --rounds 2`" in page
    rows = [line.split(" | ") for line in page.splitlines() if " page | " in line]
    assert len(rows) == 44
    assert {len(row) for row in rows} == {2}
    for plots in ("one-order", "by-cursor", "by-page-with-the-exact-total"):
        assert (tmp_path / f"{plots}.svg").read_text().rstrip().endswith("</svg>")
    plans = {file.name: file.read_text() for file in (tmp_path / "plans").iterdir()}
    assert len(plans) == len(rows) + 2 + 3  # each list, each call of one order, promotion and doctor
    for text in plans.values():
        assert text.startswith("SELECT ")
        assert text.count("Execution Time: ") == text.count("-- with (") >= 1
    assert (
        f"-- with ('50', '150', '{MOST_LINES + 1}'); "
        in plans["by-page-with-the-exact-total-all-orders-last-page.txt"]
    )
    assert "planned once, for any parameters" in plans["one-order-by-id.txt"]
    assert os.listdir(temporary) == []  # noqa: PTH208 - a Path would count as blocking


@pytest.mark.slow
async def test_ctrl_c_stops_everything_and_removes_the_data(temporary: Path, tmp_path: Path) -> None:
    options = ("--sizes", "1000000", "--out", str(tmp_path / "out"))
    # Closed to PostgreSQL's user, where root runs this: the data is elsewhere then.
    os.chmod(temporary, 0o700)  # noqa: PTH101 - a Path's would count as blocking

    async with started(*SCALE, *options, TMPDIR=str(temporary)) as run:
        await run.until_said("orders: 5000 of 1000000")
        children = psutil.Process(run.child.pid).children(recursive=True)
        folders = {Path(child.cwd()) for child in children if child.name() == "postgres"}
        code = await run.asked_to_stop(signal.SIGINT)

    assert code == 130
    assert run.log[-1].endswith("interrupted; everything is stopped and removed")
    assert children
    assert [child for child in children if child.is_running()] == []
    assert folders
    assert [folder for folder in folders if folder.exists()] == []
    assert os.listdir(temporary) == []  # noqa: PTH208 - a Path would count as blocking
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", ["--sizes=99", "--sizes=100,300,200", "--sizes=1e3", "--sizes=", "--rounds=1"]
)
def test_what_cannot_be_measured_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        parse([option])

    *_, line = capsys.readouterr().err.splitlines()
    assert f"error: argument {option.partition('=')[0]}: must be " in line


def an_answer(**more: object) -> dict[str, object]:
    return {"orders": [{}, {}], "has_next": False, **more}


def a_call(**answer: object) -> Call:
    async def query(_: object) -> None: ...

    return Call(kind=BY_CURSOR, name="all orders: last page", paths=("/orders/",), query=query, answer=answer)


def test_an_answer_that_is_not_the_page_asked_for_ends_the_measurement() -> None:
    check(a_call(orders=2, has_next=False), "/orders/", an_answer())

    for expected in ({"orders": 3}, {"has_next": True}, {"total": 2}):
        with pytest.raises(CannotMeasure, match=r"^/orders/: expected .*, got "):
            check(a_call(**expected), "/orders/", an_answer(total=7))


def measured(milliseconds: float) -> Measured:
    fast = [1.0] * 99
    return Measured(
        orders=1_000,
        fill_seconds=1.0,
        database_bytes=1_000_000,
        postgres="18",
        waits={
            (BY_CURSOR, "all orders: first page"): [*fast, 1.0],
            (BY_CURSOR, "all orders: last page"): [*fast, milliseconds],
            (BY_PAGE, "all orders: first page"): [*fast, milliseconds],
        },
    )


def test_a_target_that_is_missed_is_told_and_set_in_bold(tmp_path: Path) -> None:
    # Of 100 values, the 99th percentile has a hundredth of the way to the last.
    missed = write(tmp_path, [measured(10_000.0)], "command")

    assert missed == ["By cursor, all orders: last page, 1,000 orders: p99 101.0 ms, target 20 ms"]
    page = (tmp_path / "README.md").read_text()
    assert f"- {missed[0]}\n" in page
    assert "| all orders: last page | **1.0 / 101.0** |" in page
    assert page.count("**1.0 / ") == 1


def test_a_run_that_meets_every_target_says_so(tmp_path: Path) -> None:
    assert write(tmp_path, [measured(2.0)], "command") == []
    assert "Every call meets its target at every size." in (tmp_path / "README.md").read_text()


def test_plans_and_plots_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "of-a-call-that-is-gone.txt").write_text("old")

    write(tmp_path, [measured(2.0)], "command")

    assert list((tmp_path / "plans").iterdir()) == []


def test_the_same_figures_give_the_same_bytes() -> None:
    assert plot(BY_CURSOR, [measured(5.0)]) == plot(BY_CURSOR, [measured(5.0)])
    assert plot(BY_CURSOR, [measured(5.0)]) != plot(BY_CURSOR, [measured(6.0)])
