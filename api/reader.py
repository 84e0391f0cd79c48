"""Seeing an order: as PostgreSQL has it, as its workflow shows it, and as Temporal describes that."""

import logging
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import SearchAttributeKey

from api.temporal import NoWorkflow, TemporalUnavailable, asking_temporal
from database import queries
from database.engine import DatabaseUnavailable
from orders.errors import OrderNotFound
from orders.names import STATUS_ATTRIBUTE, workflow_id
from orders.order import Order, OrderRecord
from workflows.order import OrderWorkflow
from workflows.state import OrderState

logger = logging.getLogger("api.reader")

STATUS = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)


class OrderNotReadable(Exception):  # noqa: N818 - the name is the fact
    """The order exists in Temporal, and neither PostgreSQL nor a worker can show it yet."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} exists and cannot be shown yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What Temporal says of an order's workflow, the workflow of the order, and PostgreSQL of both.

    None where Temporal has forgotten the workflow, no worker shows its state, PostgreSQL has no order.
    """

    description: WorkflowExecutionDescription | None
    state: OrderState | None
    projected: Order | None


@dataclass(frozen=True)
class Reader:
    """The ways to see an order.

    Every call that asks Temporal raises `TemporalUnavailable` when it does not answer.
    """

    client: Client
    engine: AsyncEngine
    patience: float
    """Seconds to wait for an answer of Temporal's."""

    async def projected(self, order_id: UUID) -> OrderRecord | None:
        """The order as PostgreSQL has it; None where it does not, or cannot be asked."""
        try:
            return await queries.get_record(self.engine, order_id)
        except DatabaseUnavailable as outage:
            logger.debug("%s", outage)
            return None

    async def read(self, order_id: UUID) -> OrderRecord:
        """The order from its workflow, which is never behind.

        Raises:
            OrderNotFound: there is no such workflow.
            OrderNotReadable: there is one, and no worker shows it in time.
        """
        try:
            # Asked first, because Temporal answers for itself here, and a query needs a worker.
            await self._describe(order_id)
        except NoWorkflow:
            raise OrderNotFound(str(order_id)) from None
        state = await self._state(order_id)
        if state is None:
            raise OrderNotReadable(order_id)
        return state.record

    async def inspect(self, order_id: UUID) -> Inspection:
        """All that can be found out about an order now.

        Raises:
            OrderNotFound: neither Temporal nor PostgreSQL has it.
            DatabaseUnavailable: Temporal has no workflow, and PostgreSQL cannot be asked.
        """
        try:
            description = await self._describe(order_id)
        except NoWorkflow:
            projected = await queries.get_order(self.engine, order_id)
            if projected is None:
                raise OrderNotFound(str(order_id)) from None
            return Inspection(description=None, state=None, projected=projected)
        state = await self._state(order_id)
        record = await self.projected(order_id)
        return Inspection(description=description, state=state, projected=record.order if record else None)

    async def is_running(self, order_id: UUID) -> bool:
        """Whether the order has a workflow that can decide."""
        try:
            description = await self._describe(order_id)
        except NoWorkflow:
            return False
        return description.status is WorkflowExecutionStatus.RUNNING

    async def is_current(self, record: OrderRecord) -> bool:
        """Whether the order is still as in the record, with no command on its way to be decided.

        A status never comes back, so that the same status is the same version; a command that waits for
        its decision is a workflow task that is pending, and a decision that waits for PostgreSQL a pending
        activity.

        Raises:
            NoWorkflow: it has none.
        """
        description = await self._describe(record.order.id)
        pending = description.raw_description
        is_busy = pending.HasField("pending_workflow_task") or bool(pending.pending_activities)
        status = description.typed_search_attributes.get(STATUS)
        return not is_busy and status == record.order.status

    async def check_reachable(self) -> None:
        """Return once Temporal has answered; raise `TemporalUnavailable` when it does not."""
        async with asking_temporal(self.patience):
            await self.client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.client.namespace)
            )

    def workflow(self, order_id: UUID) -> WorkflowHandle[OrderWorkflow, Order]:
        """The workflow that owns an order, whether there is one or not."""
        return self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))

    async def _describe(self, order_id: UUID) -> WorkflowExecutionDescription:
        async with asking_temporal(self.patience):
            return await self.workflow(order_id).describe()

    async def _state(self, order_id: UUID) -> OrderState | None:
        """The workflow's own answer; None where no worker gives it in time."""
        try:
            async with asking_temporal(self.patience):
                return await self.workflow(order_id).query(OrderWorkflow.order)
        except (TemporalUnavailable, NoWorkflow):
            return None
