import asyncio
from itertools import pairwise
from typing import Any

import pytest

from load import engine
from load.engine import NOT_SENT, CallFailed, Operation, Result, percentile, run
from tests.load.clockwork import clockwork, in_clockwork, measured, only

SECONDS = 0.25


async def quarter() -> None:
    await asyncio.sleep(SECONDS)


async def instant() -> None:
    await asyncio.sleep(0)


def stalling(begins: float, ends: float, usual: float = 0.0) -> Operation:
    """A service that answers nobody between two moments."""

    async def call() -> None:
        now = clockwork().time()
        await asyncio.sleep((ends - now if begins <= now < ends else 0.0) + usual)

    return call


def test_a_client_makes_its_next_call_when_the_last_was_answered() -> None:
    result = measured(only(quarter), clients=3, duration=2)

    assert list(result.latencies["call"]) == [SECONDS] * 3 * 8
    assert result.elapsed == 2.0
    assert not result.is_interrupted


def test_so_many_calls_are_made_and_no_more() -> None:
    result = measured(only(quarter), clients=3, calls=10)

    assert len(result.latencies["call"]) == 10
    assert result.elapsed == 4 * SECONDS


def test_a_call_that_was_begun_in_time_is_waited_for() -> None:
    result = measured(only(quarter), clients=1, duration=1.1)

    assert len(result.latencies["call"]) == 5
    assert result.elapsed == 1.25


def test_a_rate_is_kept_whatever_the_answers_take() -> None:
    quick = measured(only(instant), rate=100, duration=100, seed=1)
    slow = measured(only(quarter), rate=100, duration=100, seed=1)

    assert len(slow.latencies["call"]) == len(quick.latencies["call"]) == pytest.approx(10_000, rel=0.03)
    assert list(slow.latencies["call"]) == pytest.approx([SECONDS] * len(slow.latencies["call"]))
    assert max(quick.latencies["call"]) == max(quick.lateness) == pytest.approx(0)


def test_a_rate_lasts_as_long_as_it_is_asked_for_even_if_the_last_call_is_over_before() -> None:
    assert measured(only(instant), rate=1, duration=10).elapsed == 10.0
    assert measured(only(instant), rate=1e-9, duration=10).elapsed == 10.0


def test_calls_at_a_rate_come_by_chance_and_the_seed_fixes_it() -> None:
    def moments(seed: int) -> list[float]:
        began = []

        async def call() -> None:
            began.append(clockwork().time())
            await instant()

        measured(only(call), rate=10, calls=200, seed=seed)
        return began

    first = moments(1)
    gaps = [later - earlier for earlier, later in pairwise(first)]

    assert first == moments(1) != moments(2)
    # Of a Poisson process, e^-1 of the gaps are longer than the mean, and some are next to nothing.
    assert sum(gap > 0.1 for gap in gaps) / len(gaps) == pytest.approx(0.37, abs=0.07)
    assert min(gaps) < 0.005


@pytest.mark.parametrize("most_in_flight", [1, 10, 2_000])
def test_a_stall_shows_in_every_call_that_was_due_meanwhile(
    most_in_flight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait for an answer, and however many only to be sent."""
    monkeypatch.setattr(engine, "MOST_IN_FLIGHT", most_in_flight)

    result = measured(only(stalling(5.0, 6.0)), rate=100, duration=10)
    latencies = sorted(result.latencies["call"])

    assert len(latencies) == pytest.approx(1_000, abs=100)
    # One second's calls, of which each waited for what was left of it.
    assert sum(latency > 0.01 for latency in latencies) == pytest.approx(100, abs=25)
    assert sum(latency > 0.5 for latency in latencies) == pytest.approx(50, abs=15)
    assert latencies[-1] == pytest.approx(1.0, abs=0.05)
    assert percentile(latencies, 0.5) < 0.01
    # All that is the service's doing.
    assert max(result.lateness) < 0.01


def test_what_could_not_be_sent_before_the_end_has_failed_after_the_time_that_it_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MOST_IN_FLIGHT", 2)

    result = measured(only(stalling(0.0, 3.0)), rate=50, duration=2)
    latencies = list(result.latencies["call"])

    sent = len(latencies) - result.errors["call", NOT_SENT]
    assert sent == 2
    assert len(latencies) == pytest.approx(100, abs=25)
    assert all(1.0 <= latency <= 3.0 for latency in latencies)
    assert result.messages[NOT_SENT]


def test_calls_up_to_a_number_are_all_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_IN_FLIGHT", 2)

    result = measured(only(quarter), rate=50, calls=20)

    assert len(result.latencies["call"]) == 20
    assert not result.errors


def test_a_generator_that_is_busy_itself_is_late_and_says_so() -> None:
    async def call() -> None:
        clockwork().work(0.02)
        await instant()

    result = measured(only(call), rate=100, duration=5)

    late = [seconds for seconds in result.lateness if seconds > engine.LATE_SECONDS]
    assert len(late) > len(result.lateness) / 2
    assert max(late) > 1.0


def test_a_generator_that_is_behind_reads_answers_all_the_same() -> None:
    under_way = most = 0

    async def call() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await instant()
        under_way -= 1

    def choose() -> tuple[str, Operation]:
        clockwork().work(0.02)
        return "call", call

    measured(choose, rate=100, calls=200)

    assert most < 5


def test_a_generator_that_has_caught_up_after_a_stall_is_watched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MOST_IN_FLIGHT", 1)
    stall = stalling(1.0, 2.0)

    async def call() -> None:
        await stall()
        if 4.0 < clockwork().time() < 4.1:
            clockwork().work(0.5)

    result = measured(only(call), rate=20, duration=6)

    assert max(result.lateness) == pytest.approx(0.5, abs=0.1)


def test_the_tick_of_a_timer_is_not_the_services_latency() -> None:
    """Real loops wake up to a millisecond late."""
    result = measured(only(instant), rate=100, duration=20, tick=0.001)

    assert max(result.lateness) > 0.0005
    assert max(result.latencies["call"]) < 1e-6


def test_failures_are_counted_by_kind_with_the_first_message_and_their_time() -> None:
    numbers = iter(range(8))

    async def call() -> str | None:
        await quarter()
        number = next(numbers)
        if number % 4 == 3:
            raise CallFailed("429", f"number {number}")
        return "202" if number % 4 == 2 else None

    result = measured(only(call), clients=1, calls=8)

    assert result.errors == {("call", "429"): 2}
    assert result.messages == {"429": "number 3"}
    assert result.notes == {("call", "202"): 2}
    assert list(result.latencies["call"]) == [SECONDS] * 8


@pytest.mark.parametrize("how", [{"clients": 2}, {"rate": 10.0}])
def test_a_mistake_in_a_call_ends_the_load(how: dict[str, Any]) -> None:
    async def call() -> None:
        await instant()
        raise KeyError("a mistake")

    with pytest.raises(ExceptionGroup, match="unhandled errors") as caught:
        measured(only(call), duration=10, **how)

    assert isinstance(caught.value.exceptions[0], KeyError)


def test_progress_is_told_every_second() -> None:
    seen: list[tuple[float, int]] = []

    def progress(result: Result) -> None:
        seen.append((result.elapsed, len(result.latencies["call"])))

    measured(only(stalling(0, 0, usual=0.4)), clients=1, duration=3.5, progress=progress)

    assert seen == [(1.0, 2), (2.0, 4), (3.0, 7)]


def test_a_mistake_in_telling_progress_ends_the_load() -> None:
    def progress(_: Result) -> None:
        raise OSError("nobody reads")

    with pytest.raises(OSError, match="nobody reads"):
        measured(only(quarter), clients=1, duration=3, progress=progress)


@pytest.mark.parametrize("how", [{"clients": 2}, {"rate": 10.0}])
def test_once_stopped_it_has_what_was_measured_and_nothing_goes_on(how: dict[str, Any]) -> None:
    given_up = []

    async def call() -> None:
        try:
            await quarter()
        except asyncio.CancelledError:
            given_up.append(clockwork().time())
            raise

    async def scene() -> Result:
        stop = asyncio.Event()
        clockwork().call_at(1.9, stop.set)
        result = await run(only(call), duration=60, stop=stop, clock=clockwork().time, **how)
        assert len(asyncio.all_tasks()) == 1
        return result

    result = in_clockwork(scene())

    assert result.is_interrupted
    assert result.elapsed == pytest.approx(1.9)
    assert given_up == pytest.approx([1.9] * len(given_up))
    assert given_up
    assert len(result.latencies["call"]) >= 10
    assert not result.errors


@pytest.mark.parametrize(
    "how",
    [{"duration": 1}, {"duration": 1, "rate": 1.0, "clients": 1}, {"clients": 1}, {"rate": 1.0}],
)
def test_half_a_wish_and_two_at_once_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be given"):
        measured(only(quarter), **how)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    hundred = [float(number) for number in range(1, 101)]

    assert [percentile(hundred, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)] == [50, 90, 99, 100, 100]
    assert percentile([7.0], 0.01) == 7.0
