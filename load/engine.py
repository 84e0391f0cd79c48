"""Makes calls and measures them: at a rate, or by clients that wait. What a call does is not known here."""

import asyncio
import random
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

MOST_IN_FLIGHT = 2_000
"""A call at a rate that is due while so many have no answer waits, and its waiting counts."""

LATE_SECONDS = 0.01
"""A call that begins so long after it was due, with nothing to wait for, was late by our own fault."""

NOT_SENT = "not sent"
_NOT_SENT = "It was due, and the load was over before it could begin"

# The timers of an event loop tick in milliseconds: what begins within a tick of its moment is on time.
_TICK_SECONDS = 0.001

Operation = Callable[[], Awaitable[str | None]]
"""Makes one call; it must wait for something, or nothing else gets its turn.

Returns None for the usual answer, or a note to count another expected one by; raises `CallFailed`.
"""

Choose = Callable[[], tuple[str, Operation]]
"""The next call, and the name to count it under."""


class CallFailed(Exception):  # noqa: N818 - the name is the fact
    """A call was not answered as expected. Failures of one `kind` are counted together; `str()` says more."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Result:
    """What was measured of every call that has ended. Times are seconds.

    `latencies`, by name, has the failed calls too: without them, the slowest would be missing. `errors`
    counts by name and kind, `notes` by name and note; `messages` has the first message of each kind of error.
    `lateness` has how late each call at a rate began that had nothing to wait for. `cpu` is what this process
    has used.
    """

    latencies: "defaultdict[str, array[float]]" = field(
        default_factory=lambda: defaultdict(lambda: array("d"))
    )
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    lateness: "array[float]" = field(default_factory=lambda: array("d"))
    elapsed: float = 0.0
    cpu: float = 0.0
    is_interrupted: bool = False


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share (0 < share <= 1) of an ordered sequence does not exceed."""
    return ordered[ceil(share * len(ordered)) - 1]


async def run(  # noqa: PLR0913 - each is named where it is given
    choose: Choose,
    *,
    rate: float | None = None,
    clients: int | None = None,
    duration: float | None = None,
    calls: int | None = None,
    seed: int = 0,
    progress: Callable[[Result], None] | None = None,
    stop: asyncio.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Make calls for `duration` seconds or until there were so many, and wait for the last answers.

    At a `rate` a second, calls are due at moments that no answer moves, and their latency counts from there.
    The moments are those of a Poisson process, drawn from the seed: callers do not know of each other, so
    that some come at the same time. What could not begin before the end fails as `NOT_SENT`.

    With `clients`, each of them makes its next call when its last one was answered.

    `progress` gets the result so far, every second. Once `stop` is set, calls under way are given up and not
    counted.

    Raises:
        ValueError: not exactly one of rate and clients, or neither duration nor calls.
    """
    if duration is None and calls is None:
        raise ValueError("duration or calls must be given")
    load = _Load(choose, inf if duration is None else duration, inf if calls is None else calls, clock)
    if rate is not None and clients is None:
        made = asyncio.create_task(load.at_rate(rate, seed))
    elif clients is not None and rate is None:
        made = asyncio.create_task(load.by_clients(clients))
    else:
        raise ValueError("either rate or clients must be given")
    others = [asyncio.create_task(load.tell(progress))] if progress else []
    stopped = asyncio.ensure_future(stop.wait() if stop else asyncio.Future[bool]())
    try:
        await asyncio.wait([made, stopped, *others], return_when=asyncio.FIRST_COMPLETED)
        load.measure()
        load.result.is_interrupted = not made.done()
    finally:
        for task in (made, stopped, *others):
            task.cancel()
        outcomes = await asyncio.gather(made, stopped, *others, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return load.result


class _Load:
    def __init__(self, choose: Choose, duration: float, calls: float, clock: Callable[[], float]) -> None:
        self.result = Result()
        self._choose = choose
        self._clock = clock
        self._left = calls
        self._since = clock()
        self._until = self._since + duration
        self._cpu = time.process_time()

    async def by_clients(self, clients: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        while self._left > 0 and (now := self._clock()) < self._until:
            self._left -= 1
            await self._call(*self._choose(), now)

    async def at_rate(self, rate: float, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - nothing is secret
        slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        # Whether calls begin late because others had no answer, and we have not caught up since.
        is_held_up = False
        due = self._since
        async with asyncio.TaskGroup() as group:
            while self._left > 0:
                self._left -= 1
                due += chance.expovariate(rate)
                early = min(due, self._until) - self._clock()
                # For no time where we are behind, so that answers are read all the same.
                await asyncio.sleep(max(0.0, early))
                if due >= self._until:
                    break
                is_held_up = slots.locked() or (is_held_up and early <= 0)
                await slots.acquire()
                name, operation = self._choose()
                if self._clock() > self._until + LATE_SECONDS:
                    slots.release()
                    self._fail(name, due, CallFailed(NOT_SENT, _NOT_SENT))
                else:
                    call = self._due_call(name, operation, due, is_held_up=is_held_up)
                    group.create_task(call).add_done_callback(lambda _: slots.release())

    async def _due_call(self, name: str, operation: Operation, due: float, *, is_held_up: bool) -> None:
        now = self._clock()
        if not is_held_up:
            self.result.lateness.append(max(0.0, now - due))
        await self._call(name, operation, min(now, due + _TICK_SECONDS))

    async def _call(self, name: str, operation: Operation, since: float) -> None:
        try:
            note = await operation()
        except CallFailed as failure:
            self._fail(name, since, failure)
            return
        if note is not None:
            self.result.notes[name, note] += 1
        self.result.latencies[name].append(self._clock() - since)

    def _fail(self, name: str, since: float, failure: CallFailed) -> None:
        self.result.latencies[name].append(self._clock() - since)
        self.result.errors[name, failure.kind] += 1
        self.result.messages.setdefault(failure.kind, str(failure))

    def measure(self) -> None:
        self.result.elapsed = self._clock() - self._since
        self.result.cpu = time.process_time() - self._cpu

    async def tell(self, progress: Callable[[Result], None]) -> None:
        while True:
            await asyncio.sleep(1)
            self.measure()
            progress(self.result)
