import json

from temporalio.client import WorkflowHistory

from chaos.replay import replay
from tests.workflows.record_histories import HISTORIES

NAME = "2-order-delivered-1.json"


def a_history(*, is_broken: bool) -> WorkflowHistory:
    """A recorded life; a broken one has recorded its last projection before the one before it."""
    told = json.loads((HISTORIES / NAME).read_text("utf-8"))
    if is_broken:
        markers = [
            it["markerRecordedEventAttributes"]
            for it in told["events"]
            if "markerRecordedEventAttributes" in it
        ]
        projections = [it for it in markers if it["markerName"] == "core_local_activity"]
        one, other = projections[-2:]
        one["details"], other["details"] = other["details"], one["details"]
    return WorkflowHistory.from_json("recorded", json.dumps(told))


async def test_a_history_that_the_code_made_replays_and_another_does_not() -> None:
    complaints = [
        complaint async for complaint in replay([a_history(is_broken=False), a_history(is_broken=True)])
    ]

    assert complaints[0] == ""
    assert complaints[1].startswith("recorded does not replay: ")
