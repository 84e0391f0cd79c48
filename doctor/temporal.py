"""What Temporal says of orders: in lists, which may lag, and one by one, which never does."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecution

from doctor.findings import Known
from orders.names import ORDERS_QUEUE, order_id_of, workflow_id
from orders.order import OrderRecord
from workflows.client import (
    NoWorkflow,
    Silent,
    TemporalUnavailable,
    asking_temporal,
    order_workflow,
    query_order,
)

# A worker that has nothing to do asks anew every minute.
_LATELY = timedelta(seconds=90)
# A run that continued as a new one is followed by that one.
_ORDERS = "WorkflowType = 'OrderWorkflow' AND ExecutionStatus != 'ContinuedAsNew'"


class CouldNotLook(Exception):  # noqa: N818 - the name is the fact
    """Temporal, or every worker, is away: nothing can be said of the orders. The message is one line."""


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
        """What the workflow says of its order; None where there is none.

        Raises:
            CouldNotLook: Temporal is away.
        """
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
            Silent: it does not show the order.
            CouldNotLook: Temporal is away.
        """
        try:
            return (await query_order(self.client, order_id, self.patience)).record
        except TemporalUnavailable as error:
            raise CouldNotLook(str(error)) from None

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asking_temporal(self.patience):
                yield
        except TemporalUnavailable as error:
            raise CouldNotLook(str(error)) from None
