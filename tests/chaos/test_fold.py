import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHistory

from chaos.evidence import read_run
from chaos.fold import Run, Signal, differences, differences_of_rejections, fold, story_of_record
from settings import ROOT
from tests.chaos.hand import NOON, SIGNALS, START, a_signal, an_answer

HISTORIES = ROOT / "tests" / "workflows" / "histories"
SAME_TIME = timedelta(microseconds=2)


def folded(*signals: Signal) -> Any:  # noqa: ANN401 - a story
    return fold([Run(started=NOON, start=START, signals=list(signals))])


def test_a_history_folds_to_what_the_workflow_answers() -> None:
    assert differences(folded(*SIGNALS).story, story_of_record(an_answer()["record"]), SAME_TIME) == []


def test_a_repeated_signal_changes_nothing() -> None:
    again = folded(SIGNALS[0], SIGNALS[0])

    assert again.story["version"] == 2
    assert again.rejections == []


@pytest.mark.parametrize(
    "signal",
    [
        a_signal(1, "SHIPPED", "c1", "k"),
        a_signal(1, "LOST", "c1", "k"),
        Signal(name="update_status", arguments=["ship it"], decided=NOON),
        Signal(name="update_status", arguments=[{}], decided=NOON),
        Signal(name="update_status", arguments=[{"status": 7}], decided=NOON),
        Signal(name="update_status", arguments=[{"status": "PROCESSING", "colour": "red"}], decided=NOON),
        Signal(name="update_status", arguments=[{"status": "PROCESSING"}, {}], decided=NOON),
        Signal(
            name="update_status", arguments=[{"status": "PROCESSING", "expected_version": 2}], decided=NOON
        ),
        Signal(name="ship", arguments=[], decided=NOON),
    ],
)
def test_what_is_not_allowed_or_makes_no_sense_is_refused(signal: Signal) -> None:
    refused = folded(signal)

    assert refused.story["version"] == 1
    assert len(refused.rejections) == 1


def test_a_command_id_that_comes_with_another_wish_is_refused() -> None:
    reused = folded(SIGNALS[0], a_signal(4, "SHIPPED", "promotion", "p"))

    assert reused.story["version"] == 2
    assert len(reused.rejections) == 1


def test_the_latest_twenty_refusals_are_remembered() -> None:
    refused = folded(*(a_signal(second, "SHIPPED", "c1", f"k{second}") for second in range(25)))

    assert [it["command_id"] for it in refused.rejections] == [f"k{second}" for second in range(5, 25)]


def test_a_refusal_may_have_the_time_of_its_replay_and_no_other() -> None:
    later = NOON + timedelta(seconds=9)
    signal = replace(a_signal(1, "SHIPPED", "c1", "k"), replayed=later)
    (rejection,) = folded(signal).rejections
    told = rejection | {"rejected_at": later.isoformat()}

    assert differences_of_rejections([rejection], [told]) == []
    assert differences_of_rejections([rejection], [told | {"rejected_at": NOON.isoformat()}])
    assert differences_of_rejections([rejection], [told | {"status": "LOST"}])


def test_a_signal_without_a_command_id_gets_one_that_is_not_judged() -> None:
    signal = Signal(name="update_status", arguments=[{"status": "PROCESSING"}], decided=NOON)
    one = folded(signal).story
    other = folded(signal).story
    other["history"][1]["command_id"] = "made up"

    assert differences(one, other, SAME_TIME) == []
    assert differences(folded(SIGNALS[0]).story, other, SAME_TIME)


def test_a_signal_to_cancel_needs_to_say_nothing() -> None:
    cancelled = folded(Signal(name="cancel", arguments=[], decided=NOON))

    assert cancelled.story["status"] == "CANCELLED"


def test_a_clock_that_steps_back_does_not_make_the_history_do_so() -> None:
    assert folded(a_signal(-9, "PROCESSING", "c1", "k")).story["updated_at"] == NOON


@pytest.mark.parametrize(
    ("changed_at", "sent_at"), [(2, "12:00:02Z"), (2, "13:00:02+01:00"), (3, "12:00:04Z"), (0, "11:59:00Z")]
)
def test_a_change_has_the_time_at_which_it_was_sent(changed_at: int, sent_at: str) -> None:
    signal = a_signal(3, "PROCESSING", "c1", "k")
    signal.arguments[0] |= {"sent_at": f"2026-01-05T{sent_at}", "ignorable": ["sent_at"]}

    assert folded(signal).story["updated_at"] == NOON + timedelta(seconds=changed_at)


def test_a_run_that_was_carried_on_with_another_state_is_found() -> None:
    carried = {"carried": an_answer()}
    runs = [
        Run(started=NOON, start=START, signals=SIGNALS[:2]),
        Run(started=NOON, start=carried, signals=SIGNALS[2:]),
    ]

    assert fold(runs).faults


@pytest.mark.parametrize("name", ["delivered", "cancelled", "asked_for_everything"])
def test_the_recorded_histories_fold_to_their_results(name: str) -> None:
    text = (HISTORIES / f"2-order-{name}-1.json").read_text("utf-8")
    events = WorkflowHistory.from_json("recorded", text).events
    story = fold([read_run(events)]).story
    result = json.loads(events[-1].workflow_execution_completed_event_attributes.result.payloads[0].data)
    told = story_of_record({"order": result})

    assert differences(story | {"history": []}, told, SAME_TIME) == []
