"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

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

    def count(self, what: str, done: int, of: int) -> None:
        """Tell how far a count is."""
        self.show(done / max(1, of), f"{what} {done} of {of}")

    def show(self, share: float, text: str) -> None:
        """Tell how far it is, as a share of 1 and in words."""
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
