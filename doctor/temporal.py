"""What Temporal says of orders: in lists, which may lag, and one by one, which never does."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.errordetails.v1 import WorkflowNotReadyFailure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecution, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from doctor.findings import Known
from orders.names import ORDERS_QUEUE, order_id_of, workflow_id
from orders.order import OrderRecord
from workflows.client import NoWorkflow, TemporalUnavailable, asking_temporal, order_workflow
from workflows.order import OrderWorkflow

# A worker that has nothing to do asks anew every minute.
_LATELY = timedelta(seconds=90)
# A run that continued as a new one is followed by that one.
_ORDERS = "WorkflowType = 'OrderWorkflow' AND ExecutionStatus != 'ContinuedAsNew'"


class CouldNotLook(Exception):  # noqa: N818 - the name is the fact
    """Temporal, or every worker, is away: nothing can be said of the orders. The message is one line."""


class Silent(Exception):  # noqa: N818 - the name is the fact
    """A workflow does not answer. The message is one line and says why.

    `is_its_own` says that the reason is the workflow's, and not that of a worker that is away.
    """

    def __init__(self, reason: str, *, is_its_own: bool) -> None:
        super().__init__(reason)
        self.is_its_own = is_its_own


@dataclass(frozen=True)
class Workflows:
    """The workflows that own the orders."""

    client: Client
    patience: float
    """Seconds to wait for one answer."""

    async def count(self) -> int:
        """About how many orders Temporal knows."""
        async with self._asking():
            return (await self.client.count_workflows(_ORDERS)).count

    async def pages(self, size: int) -> AsyncIterator[dict[UUID, WorkflowExecution]]:
        """Every order that Temporal knows, page by page, as its list of workflows has it."""
        listed = self.client.list_workflows(_ORDERS, page_size=size)
        while True:
            async with self._asking():
                await listed.fetch_next_page()
            ids = [(order_id_of(execution.id), execution) for execution in listed.current_page or ()]
            yield {order_id: execution for order_id, execution in ids if order_id}
            if listed.next_page_token is None:
                return

    async def running(self, order_ids: Sequence[UUID]) -> set[UUID]:
        """Those of the orders whose workflow is running, as the list has it."""
        if not order_ids:
            return set()
        ids = ", ".join(f"'{workflow_id(order_id)}'" for order_id in order_ids)
        query = f"ExecutionStatus = 'Running' AND WorkflowId IN ({ids})"
        async with self._asking():
            found = [order_id_of(it.id) async for it in self.client.list_workflows(query)]
        return {order_id for order_id in found if order_id}

    async def ask_all(self, order_ids: Iterable[UUID]) -> list[Known | None]:
        """What each workflow says of its order; None where there is none.

        Raises:
            CouldNotLook: none of them answered, and no worker has asked for work of late.
        """
        answers = await asyncio.gather(*(self.ask(order_id) for order_id in order_ids))
        asked = [answer for answer in answers if answer]
        if asked and all(answer.is_unserved for answer in asked) and not await self._is_served():
            raise CouldNotLook(f"No workflow answers ({asked[0].silence}): does a worker serve the orders?")
        return answers

    async def _is_served(self) -> bool:
        """Whether a worker has lately asked for the orders' work."""
        asking = DescribeTaskQueueRequest(
            namespace=self.client.namespace,
            task_queue=TaskQueue(name=ORDERS_QUEUE),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        async with self._asking():
            queue = await self.client.workflow_service.describe_task_queue(asking)
        since = datetime.now(UTC) - _LATELY
        return any(poller.last_access_time.ToDatetime(UTC) > since for poller in queue.pollers)

    async def ask(self, order_id: UUID) -> Known | None:
        """What the workflow says of its order; None where there is none."""
        handle = order_workflow(self.client, order_id)
        try:
            async with self._asking():
                status = (await handle.describe()).status
        except NoWorkflow:
            return None
        if status is None:
            raise CouldNotLook(f"Temporal does not say how the workflow {handle.id} is")
        try:
            return Known(status=status, record=await self.record(order_id))
        except Silent as silent:
            return Known(status=status, record=None, silence=str(silent), is_unserved=not silent.is_its_own)

    async def record(self, order_id: UUID) -> OrderRecord:
        """The order as its workflow has it now; a worker must be there to say so.

        Raises:
            Silent: nothing comes in time, or the workflow is broken, or gone.
        """
        try:
            # Not `rpc_timeout`: the client retries, and that bounds each attempt only.
            async with asyncio.timeout(self.patience):
                return (await order_workflow(self.client, order_id).query(OrderWorkflow.order)).record
        except TimeoutError:
            raise Silent(f"no answer within {self.patience:g} s", is_its_own=False) from None
        except WorkflowQueryFailedError as failure:
            raise Silent(_one_line(failure), is_its_own=True) from None
        except RPCError as error:
            if error.status in _SILENCES:
                raise Silent(error.message, is_its_own=_is_about_the_workflow(error)) from None
            raise CouldNotLook(f"Temporal: {error.status.name}: {error.message}") from error

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asking_temporal(self.patience):
                yield
        except TemporalUnavailable as error:
            raise CouldNotLook(str(error)) from None


def _is_about_the_workflow(error: RPCError) -> bool:
    details = error.grpc_status.details
    return error.status is RPCStatusCode.NOT_FOUND or (
        bool(details) and details[0].Is(WorkflowNotReadyFailure.DESCRIPTOR)
    )


# The workflow is gone, no worker has its queue, or its tasks fail.
_SILENCES = {
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.DEADLINE_EXCEEDED,
}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
