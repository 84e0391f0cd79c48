"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from chaos.nemesis import Fault

WIDTH = 24
LINE_EVERY_SECONDS = 10.0


class Progress:
    """Writes to standard error."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._told = float("-inf")

    def say(self, text: str) -> None:
        """Tell a step."""
        self._write(text, passing=False)

    def show(self, faults: int, most_faults: int, commands: int, most_commands: int, fault: Fault) -> None:
        """Tell how far the load is, and what comes next."""
        share = min(faults / max(1, most_faults), commands / max(1, most_commands), 1.0)
        counts = f"fault {faults} of {most_faults}, {commands} of {most_commands} commands"
        self._pass(share, f"{counts}: {fault.kind}, {fault.target}, {fault.lasts:g} s")

    def count(self, what: str, done: int, of: int) -> None:
        """Tell how far a count is."""
        self._pass(done / max(1, of), f"{what} {done} of {of}")

    def _pass(self, share: float, text: str) -> None:
        if self._is_terminal:
            bar = "█" * round(share * WIDTH)
            self._write(f"{bar:░<{WIDTH}} {text}", passing=True)
        elif time.monotonic() - self._told >= LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self._write(text, passing=False)

    def _write(self, text: str, *, passing: bool) -> None:
        elapsed = f"{time.monotonic() - self._began:6.0f} s  "
        start, end = ("\r\x1b[K", "" if passing else "\n") if self._is_terminal else ("", "\n")
        sys.stderr.write(f"{start}{elapsed}{text}{end}")
        sys.stderr.flush()
