import os
import subprocess
from pathlib import Path

import psutil
import pytest

from embedded.child import Child, EmbeddedError
from embedded.record import claim
from tests.embedded.conftest import python

WAITS = "import time; time.sleep(60)"


def test_a_data_folder_has_one_stack(tmp_path: Path) -> None:
    with (
        claim(tmp_path),
        pytest.raises(EmbeddedError, match=rf"^already running \(process {os.getpid()}\)"),
        claim(tmp_path),
    ):
        pass


async def test_what_a_killed_stack_left_running_is_stopped(tmp_path: Path) -> None:
    with claim(tmp_path) as record:
        child = await Child.start(python(WAITS))
        record.note(child)

    with claim(tmp_path):
        await child.wait()

    assert child.ended


def test_a_process_that_was_made_at_another_time_is_left_alone(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    made = psutil.Process(bystander.pid).create_time()
    noted = f'{{"stack": 1, "children": {{"api": [{bystander.pid}, {made - 60}, 15]}}}}\n'
    (tmp_path / "stack.json").write_text(noted)

    with claim(tmp_path):
        assert bystander.poll() is None


@pytest.mark.parametrize(
    "noted", ["", "half a li", '{"stack": 1}\n', '{"stack": 1, "children": {}}\nrest of a longer']
)
def test_a_record_that_was_cut_off_stops_nothing_and_no_start(tmp_path: Path, noted: str) -> None:
    (tmp_path / "stack.json").write_text(noted)

    with claim(tmp_path):
        pass
