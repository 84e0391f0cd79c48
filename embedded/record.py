"""One stack to a data folder, its processes written down, so that the next start finds what outlived it."""

import contextlib
import fcntl
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil

from embedded.child import Child, EmbeddedError

# A process is the noted one if its id is and it was made at the same time; psutil's clock may move a little.
SAME_TIME = 2.0
PATIENCE = 10.0


class Record:
    """The stack and its processes: {"stack": pid, "children": {name: [pid, created, stop signal]}}."""

    def __init__(self, file: TextIO, ended: int) -> None:
        self._file = file
        self.ended = ended  # processes of an earlier stack that were still there
        self._children: dict[str, tuple[int, float, int]] = {}
        self._write()

    def note(self, child: Child) -> None:
        """Remember the process of a child that was just started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(child.pid)
            self._children[child.program.name] = (child.pid, process.create_time(), child.program.stop_signal)
            self._write()

    def _write(self) -> None:
        # Readers read one line, so what is left of a longer one does no harm.
        self._file.seek(0)
        self._file.write(json.dumps({"stack": psutil.Process().pid, "children": self._children}) + "\n")
        self._file.flush()


@contextlib.contextmanager
def claim(data_dir: Path) -> Iterator[Record]:
    """Hold the data folder until the block ends; first stop what a killed stack left running there.

    Raises:
        EmbeddedError: another stack holds the folder.
    """
    path = data_dir / "stack.json"
    path.touch()
    with path.open("r+", encoding="utf-8") as file:
        try:
            noted = json.loads(file.readline())
        except ValueError:
            noted = {}
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"already running (process {noted.get('stack', 'unknown')}) with the data folder {data_dir}"
            ) from None
        left = noted.get("children", {}).values()
        ended = sum(_stop(pid, created, stop_signal) for pid, created, stop_signal in reversed(left))
        yield Record(file, ended)


def _stop(pid: int, created: float, stop_signal: int) -> bool:
    """Stop exactly that process, and kill it when it does not stop; False when it was not there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) > SAME_TIME:
            return False
        for number in (stop_signal, signal.SIGKILL):
            process.send_signal(number)
            deadline = time.monotonic() + PATIENCE
            # Not `wait`: nobody may ever bury an orphan in a container, and a dead process holds nothing.
            while process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            else:
                return True
        return True
    return False
