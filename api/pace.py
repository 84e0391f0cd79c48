"""When to look for the outcome of a write."""

from collections.abc import Iterator

_WEIGHT_OF_THE_LATEST = 0.3
_SHORTEST_PAUSE = 0.002
_PAUSE_GROWTH = 1.25
_LONGEST_PAUSE = 0.25


class Pace:
    """Waits between looks: the first is rarely shorter than half of what others have taken of late.

    An idle system has outcomes after ten milliseconds, a busy one after hundreds; to look for all of them
    equally often makes the one slower, or the other busier still.
    """

    def __init__(self) -> None:
        self._typical = 0.01

    def note(self, seconds: float) -> None:
        """An outcome has taken so long."""
        self._typical += _WEIGHT_OF_THE_LATEST * (seconds - self._typical)

    def pauses(self) -> Iterator[float]:
        """Seconds to wait between one look and the next, without end."""
        yield min(max(self._typical / 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        pause = max(self._typical / 7, _SHORTEST_PAUSE)
        while True:
            yield min(pause, _LONGEST_PAUSE)
            pause *= _PAUSE_GROWTH
