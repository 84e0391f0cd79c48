"""Seeing an order: as PostgreSQL has it, as its workflow shows it, and as Temporal describes that."""

import logging
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)

from database import queries
from database.engine import DatabaseUnavailable
from orders.errors import OrderNotFound
from orders.order import Order, OrderRecord, StatusChange
from workflows.attributes import STATUS
from workflows.client import (
    NoWorkflow,
    Silent,
    TemporalUnavailable,
    asking_temporal,
    order_workflow,
    query_order,
)
from workflows.state import OrderState

logger = logging.getLogger("api.reader")


class OrderNotReadable(Exception):  # noqa: N818 - the name is the fact
    """The order exists in Temporal, and neither PostgreSQL nor a worker can show it yet."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} exists and cannot be shown yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What Temporal says of an order's workflow, the workflow of the order, and PostgreSQL of both.

    None where Temporal has forgotten the workflow, the workflow does not show its state (then `silence` says
    why), PostgreSQL has no order.
    """

    description: WorkflowExecutionDescription | None
    state: OrderState | None
    projected: Order | None
    silence: str = ""


@dataclass(frozen=True)
class Reader:
    """The ways to see an order: in PostgreSQL, which may be behind, and in its workflow, which never is.

    Every call that asks Temporal raises `TemporalUnavailable` when it does not answer.
    """

    client: Client
    engine: AsyncEngine
    patience: float
    """Seconds to wait for an answer of Temporal's."""

    async def order(self, order_id: UUID) -> Order:
        """The order as PostgreSQL has it, or as its workflow has it where PostgreSQL has none yet.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be asked.
            OrderNotFound, OrderNotReadable: see `ask_workflow`.
        """
        order = await queries.get_order(self.engine, order_id)
        return order or (await self.ask_workflow(order_id)).order

    async def history(self, order_id: UUID) -> tuple[StatusChange, ...]:
        """Every change of the order, oldest first, from where `order` has it.

        Raises:
            DatabaseUnavailable, OrderNotFound, OrderNotReadable: as `order` does.
        """
        history = await queries.get_history(self.engine, order_id)
        return tuple(history) or (await self.ask_workflow(order_id)).history

    async def ask_workflow(self, order_id: UUID) -> OrderRecord:
        """The order as its workflow has it now.

        Raises:
            OrderNotFound: there is no such workflow.
            OrderNotReadable: there is one, and it does not show the order.
        """
        try:
            # Asked first, because Temporal answers for itself here, and a query needs a worker.
            await self._describe(order_id)
        except NoWorkflow:
            raise OrderNotFound(str(order_id)) from None
        try:
            return (await query_order(self.client, order_id, self.patience)).record
        except Silent as silent:
            logger.warning("Order %s: its workflow does not answer: %s", order_id, silent)
            raise OrderNotReadable(order_id) from None

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
        state, silence = None, ""
        try:
            state = await query_order(self.client, order_id, self.patience)
        except (Silent, TemporalUnavailable) as reason:
            silence = str(reason)
        try:
            projected = await queries.get_order(self.engine, order_id)
        except DatabaseUnavailable as outage:
            logger.debug("%s", outage)
            projected = None
        return Inspection(description=description, state=state, projected=projected, silence=silence)

    async def workflow_status(self, order_id: UUID) -> WorkflowExecutionStatus | None:
        """What has become of the order's workflow; None where Temporal knows of none."""
        try:
            return (await self._describe(order_id)).status
        except NoWorkflow:
            return None

    async def settled_status(self, order_id: UUID) -> str | None:
        """The order's status once nothing is on its way; None until then.

        A command that waits for its decision is a workflow task that is pending, and a decision that waits
        for PostgreSQL a pending activity.

        Raises:
            NoWorkflow: it has none.
        """
        description = await self._describe(order_id)
        pending = description.raw_description
        if pending.HasField("pending_workflow_task") or pending.pending_activities:
            return None
        return description.typed_search_attributes.get(STATUS)

    async def check_reachable(self) -> None:
        """Return once Temporal has answered; raise `TemporalUnavailable` when it does not."""
        async with asking_temporal(self.patience):
            await self.client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.client.namespace)
            )

    async def _describe(self, order_id: UUID) -> WorkflowExecutionDescription:
        async with asking_temporal(self.patience):
            return await order_workflow(self.client, order_id).describe()
