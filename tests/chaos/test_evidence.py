"""Reading a history; the numbers of events and their times are those of a history that a run has met."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from chaos.evidence import read_run


def an_event(number: int, kind: str, milliseconds: int) -> HistoryEvent:
    event = HistoryEvent(event_id=number, event_type=EventType.Value(f"EVENT_TYPE_{kind}"))
    event.event_time.FromMilliseconds(milliseconds)
    return event


def a_start() -> HistoryEvent:
    event = an_event(1, "WORKFLOW_EXECUTION_STARTED", 0)
    told = Payloads(payloads=[Payload(data=b"{}")])
    event.workflow_execution_started_event_attributes.input.CopyFrom(told)
    return event


def a_signal(number: int, milliseconds: int, *said: object) -> HistoryEvent:
    event = an_event(number, "WORKFLOW_EXECUTION_SIGNALED", milliseconds)
    told = Payloads(payloads=[Payload(data=json.dumps(it).encode()) for it in said])
    event.workflow_execution_signaled_event_attributes.signal_name = "cancel"
    event.workflow_execution_signaled_event_attributes.input.CopyFrom(told)
    return event


def a_task(number: int, milliseconds: int) -> list[HistoryEvent]:
    """A workflow task that was started and completed."""
    started = an_event(number, "WORKFLOW_TASK_STARTED", milliseconds)
    started.workflow_task_started_event_attributes.scheduled_event_id = number - 1
    completed = an_event(number + 1, "WORKFLOW_TASK_COMPLETED", milliseconds + 50)
    completed.workflow_task_completed_event_attributes.started_event_id = number
    return [started, completed]


def a_local_activity(number: int, task: int, ended: int, activation: int) -> HistoryEvent:
    """The end of a local activity, heard of at the first activation of a task or later."""
    event = an_event(number, "MARKER_RECORDED", ended)
    marker = event.marker_recorded_event_attributes
    marker.marker_name = "core_local_activity"
    marker.workflow_task_completed_event_id = task
    time = Timestamp()
    time.FromMilliseconds(ended)
    data = {"complete_time": {"seconds": time.seconds, "nanos": time.nanos}, "activation_index": activation}
    marker.details["data"].CopyFrom(Payloads(payloads=[Payload(data=json.dumps(data).encode())]))
    return event


def decisions(*events: HistoryEvent) -> list[int]:
    """The time of each decision, in milliseconds."""
    begin = datetime.fromtimestamp(0, UTC)
    signals = read_run([a_start(), *events]).signals
    return [round((it.decided - begin).total_seconds() * 1000) for it in signals]


def test_a_signal_is_decided_by_the_next_task_that_is_completed() -> None:
    failed = an_event(3, "WORKFLOW_TASK_STARTED", 10)

    assert decisions(a_signal(2, 5), failed, *a_task(4, 30)) == [30]


def test_signals_of_one_task_are_decided_at_the_same_time() -> None:
    assert decisions(a_signal(2, 5), a_signal(3, 6), *a_task(4, 30), a_signal(6, 35), *a_task(7, 90)) == [
        30,
        30,
        90,
    ]


@pytest.mark.parametrize(("activation", "decided"), [(0, 31), (1, 30)])
def test_a_local_activity_that_is_heard_of_first_moves_the_time_on(activation: int, decided: int) -> None:
    assert decisions(a_signal(2, 5), *a_task(3, 30), a_local_activity(5, 4, 31, activation)) == [decided]


def test_a_local_activity_that_ended_before_does_not_move_the_time_back() -> None:
    assert decisions(a_signal(2, 5), *a_task(3, 30), a_local_activity(5, 4, 20, 0)) == [30]


def test_a_task_that_recorded_nothing_is_replayed_with_the_next() -> None:
    scheduled = an_event(5, "WORKFLOW_TASK_SCHEDULED", 80)
    run = read_run([a_start(), a_signal(2, 5), *a_task(3, 30), scheduled, *a_task(6, 90)])

    (signal,) = run.signals
    assert signal.replayed is not None
    assert signal.replayed - signal.decided == timedelta(milliseconds=60)


def test_a_signal_says_whose_call_it_is() -> None:
    run = read_run(
        [a_start(), a_signal(2, 5, {"request_id": "c1-1.1"}), a_signal(3, 6, "ship it"), a_signal(4, 7)]
    )

    assert [signal.request for signal in run.signals] == ["c1-1.1", None, None]
