"""Replaying every history with the system's own workflows: the one part of the check that needs its code."""

from collections.abc import AsyncIterator, Iterable

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from connection import DATA_CONVERTER
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow


async def replay(histories: Iterable[WorkflowHistory]) -> AsyncIterator[str]:
    """Replay each history; the complaint for each in turn, empty where it replays."""
    replayer = Replayer(
        workflows=[OrderWorkflow, PromotionWorkflow],
        data_converter=DATA_CONVERTER,
        # Half the cost of the sandbox, which guards against other mistakes than those looked for here.
        workflow_runner=UnsandboxedWorkflowRunner(),
    )

    async def each() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    async with replayer.workflow_replay_iterator(each()) as results:
        async for result in results:
            failure = result.replay_failure
            yield f"{result.history.workflow_id} does not replay: {failure}" if failure else ""
