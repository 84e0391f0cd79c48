from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.system import a_replayer
from tests.workflows.record_histories import HISTORIES


def recorded(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(workflow_id=path.stem, history=path.read_text())


RECORDED = sorted(HISTORIES.glob("*.json"))


@pytest.mark.parametrize("history", [recorded(path) for path in RECORDED], ids=lambda it: it.workflow_id)
async def test_a_recorded_history_replays_with_the_code_of_today(history: WorkflowHistory) -> None:
    await a_replayer().replay_workflow(history)


def test_every_kind_of_life_is_recorded() -> None:
    lives = {path.stem.split("-")[2] for path in RECORDED if "-order-" in path.stem}

    assert lives >= {"delivered", "cancelled", "still_pending", "refused", "asked_to_cancel", "continued"}
    assert lives >= {"asked_for_everything", "told_at_length", "told_nonsense"}
    assert lives >= {"projected_late_after_silence", "projected_late_after_failures"}
