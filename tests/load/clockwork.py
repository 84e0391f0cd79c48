"""An event loop whose time passes only while everybody sleeps, so that no test waits or looks at a clock."""

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any

from load.engine import Choose, Operation, Result, run


class _Jumping(selectors.SelectSelector):
    """Never waits: where nothing is ready, time goes on instead, to the next whole `tick` if there is one."""

    now = 0.0
    tick = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "nobody will ever wake up"
        if not ready and timeout:
            self.now += timeout
            if self.tick:
                self.now = math.ceil(self.now / self.tick) * self.tick
        return ready


class Clockwork(asyncio.SelectorEventLoop):
    """The loop. Time begins at 0; timers fire at their moment, or late by up to a `tick` of seconds."""

    def __init__(self, tick: float = 0.0) -> None:
        self._jumping = _Jumping()
        self._jumping.tick = tick
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def work(self, seconds: float) -> None:
        """Let time pass without giving anybody else a turn."""
        self._jumping.now += seconds


def clockwork() -> Clockwork:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clockwork)
    return loop


def in_clockwork(work: Coroutine[Any, Any, Result], tick: float = 0.0) -> Result:
    """What the work comes to, in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: Clockwork(tick)) as runner:
        return runner.run(work)


def measured(choose: Choose, *, tick: float = 0.0, **how: Any) -> Result:  # noqa: ANN401 - as `run` has them
    """The result of a load, in a loop of its own."""

    async def measure() -> Result:
        return await run(choose, clock=clockwork().time, **how)

    return in_clockwork(measure(), tick)


def only(operation: Operation) -> Choose:
    """Always the same call."""
    return lambda: ("call", operation)
