import json
from array import array
from collections import Counter, defaultdict

import pytest

from load.engine import Result
from load.report import figures, shown, tell, to_json, warnings

ASKED = {"api": "http://127.0.0.1:8000", "clients": 2}
HUNDRED_MS = [number / 1_000 for number in range(100, 0, -1)]


def a_result(**changes: object) -> Result:
    """Ten seconds of a hundred calls of 1 to 100 ms, of which five have failed, and of one other."""
    latencies: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    latencies["get"].extend(HUNDRED_MS)
    latencies["create"].append(0.5)
    result = Result(
        latencies=latencies,
        errors=Counter({("get", "429"): 3, ("get", "connection"): 2}),
        notes=Counter({("create", "202 accepted"): 1}),
        messages={"429": "429 Too many [/red] requests", "connection": "refused"},
        elapsed=10.0,
        cpu=0.5,
    )
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def test_figures_are_by_call_and_of_all_in_milliseconds() -> None:
    by_name = figures(a_result())

    assert list(by_name) == ["create", "get", "all"]
    assert by_name["get"] == {
        "count": 100,
        "ok_per_second": 9.5,
        "p50_ms": 50.0,
        "p90_ms": 90.0,
        "p99_ms": 99.0,
        "p99_9_ms": 100.0,
        "max_ms": 100.0,
        "errors": 5,
    }
    assert by_name["create"]["max_ms"] == by_name["all"]["max_ms"] == 500.0
    assert (by_name["all"]["count"], by_name["all"]["errors"]) == (101, 5)


def test_the_table_shows_every_call_and_what_was_no_ordinary_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell(a_result(), "a load")
    title, heading, create, get, _, *rest = capsys.readouterr().out.splitlines()

    assert title == "a load, in 10.0 s"
    assert " ".join(heading.split()) == "call count ok/s p50 ms p90 ms p99 ms p99.9 ms max ms errors"
    assert create.split() == ["create", "1", "0.1", *["500.0"] * 5, "0"]
    assert get.split() == ["get", "100", "9.5", "50.0", "90.0", "99.0", "100.0", "100.0", "5"]
    assert rest == [
        "202 accepted: 1 create",
        "429: 3 get; the first: 429 Too many [/red] requests",
        "connection: 2 get; the first: refused",
    ]


def test_json_says_what_was_asked_and_all_that_came_of_it() -> None:
    told = json.loads(to_json(a_result(lateness=array("d", [0.0, 0.02])), ASKED))

    assert told["api"] == ASKED["api"]
    assert told["elapsed_seconds"] == 10.0
    assert told["is_interrupted"] is False
    assert told["calls"]["get"]["p50_ms"] == 50.0
    assert told["calls"].keys() == {"create", "get"}
    assert told["all"]["count"] == 101
    assert told["errors"]["429"] == {"first_message": "429 Too many [/red] requests", "calls": {"get": 3}}
    assert told["notes"] == {"202 accepted": {"create": 1}}
    assert told["generator"] == {"cpu_seconds": 0.5, "late_calls": 1}
    assert told["warnings"] == []


def test_a_load_without_a_call_has_no_latencies(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = Result(elapsed=1.0)
    tell(nothing, "nothing")

    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "0", "0.0", *"-----", "0"]
    assert json.loads(to_json(nothing, ASKED))["all"]["p99_ms"] is None


def test_a_generator_that_could_not_keep_up_is_blamed(capsys: pytest.CaptureFixture[str]) -> None:
    late = a_result(lateness=array("d", [0.02] * 11 + [0.0] * 89))
    tell(late, "late")

    assert len(warnings(late)) == 1
    assert "could not keep up: 11 of 101 calls began more than 10 ms late" in capsys.readouterr().out


def test_a_few_late_calls_are_nobodys_fault() -> None:
    assert warnings(a_result(lateness=array("d", [0.02] * 10))) == []
    assert warnings(a_result(lateness=array("d", [0.009] * 100))) == []


def test_a_generator_without_a_pause_is_blamed() -> None:
    (warning,) = warnings(a_result(cpu=9.5))

    assert "busy 95% of the time" in warning
    assert warnings(a_result(cpu=8.5)) == []


def test_an_interrupted_load_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    tell(a_result(is_interrupted=True), "a load")

    assert capsys.readouterr().out.startswith("a load, interrupted after 10.0 s")


def test_elsewhere_than_on_a_terminal_progress_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = Result()
    with shown(20) as progress:
        for second in range(1, 11):
            result.elapsed = float(second)
            result.latencies["get"].extend([0.001 * second] * 10)
            progress(result)

    assert capsys.readouterr().err.splitlines() == [
        "5 of 20 s: 10 calls/s, p50 3.0 ms, p99 5.0 ms, 0 errors",
        "10 of 20 s: 10 calls/s, p50 8.0 ms, p99 10.0 ms, 0 errors",
    ]


def test_on_a_terminal_progress_is_a_bar_with_the_last_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as rich is told that it writes to a terminal
    monkeypatch.setenv("TERM", "xterm")
    with shown(20) as progress:
        progress(a_result(elapsed=1.0))
        progress(a_result(elapsed=2.0))
    drawn = capsys.readouterr().err

    assert "━" in drawn
    assert "101 calls/s, p50 51.0 ms, p99 100.0 ms, 5 errors" in drawn
    assert "0 calls/s, p50 - ms, p99 - ms, 5 errors" in drawn
