"""Sending commands to the workflows that own the orders, and waiting, for a while, for their answer."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from database import queries
from orders import lifecycle
from orders.commands import ChangeStatus, PlaceOrder
from orders.errors import OrderNotFound
from orders.names import CUSTOMER_ATTRIBUTE, ORDERS_QUEUE, STATUS_ATTRIBUTE, workflow_id
from orders.order import Order, OrderRecord
from orders.signals import StatusSignal
from orders.status import OrderStatus
from workflows.details import summarize
from workflows.failures import from_failure
from workflows.order import OrderWorkflow
from workflows.state import Answer, OrderInput

logger = logging.getLogger("api.dispatch")

_STATUS = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)
_CUSTOMER = SearchAttributeKey.for_keyword(CUSTOMER_ATTRIBUTE)


class OrderUndecidable(Exception):  # noqa: N818 - the name is the fact
    """PostgreSQL has an open order whose workflow is gone, so nobody can decide for it."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} is open and its workflow is gone")


class OrderNotReadable(Exception):  # noqa: N818 - the name is the fact
    """The order exists in Temporal, and neither PostgreSQL nor a worker can show it yet."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} exists and cannot be shown yet")


@dataclass(frozen=True)
class Dispatcher:
    """The way from the API to the workflows.

    Every call raises `RPCError` when Temporal cannot be reached; nothing was promised then.
    """

    client: Client
    engine: AsyncEngine
    answer_deadline: float
    """Seconds to wait for a worker before a command is left with Temporal."""

    async def place(self, command: PlaceOrder, *, wait: bool) -> Answer | None:
        """Place an order; None when it is durable and no worker has answered for it yet.

        Placing an order that exists already answers with that order, as it was placed.
        """
        try:
            if wait and (answer := await self._in_time(self._place_and_wait(command))):
                return answer
            await self.client.start_workflow(
                OrderWorkflow.run,
                OrderInput(place=command),
                **_start_options(command),
                rpc_timeout=self._rpc_timeout,
            )
        except WorkflowAlreadyStartedError:
            record = await queries.get_record(self.engine, command.order_id)
            if record is None:
                raise OrderNotReadable(command.order_id) from None
            return Answer(order=lifecycle.at(record, 1), replayed=True)
        return None

    async def _place_and_wait(self, command: PlaceOrder) -> Answer:
        start = WithStartWorkflowOperation(
            OrderWorkflow.run, OrderInput(place=command), **_start_options(command)
        )
        return await self.client.execute_update_with_start_workflow(
            OrderWorkflow.placed, start_workflow_operation=start
        )

    async def change(self, order_id: UUID, command: ChangeStatus, *, wait: bool) -> Answer | None:
        """Carry out a command; None when it is durable and no worker has answered for it yet.

        Raises:
            CommandRefused: the order does not do this.
            OrderNotFound: there is no such order.
            OrderUndecidable: the order is open and its workflow is gone.
        """
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            if wait and (answer := await self._in_time(_change_and_wait(handle, command))):
                return answer
            await handle.signal(
                OrderWorkflow.update_status, _as_signal(command), rpc_timeout=self._rpc_timeout
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return await self._decide_without_workflow(order_id, command)
        return None

    async def _decide_without_workflow(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """Answer for an order whose workflow has ended: it moves no more, but it remembers."""
        record = await queries.get_record(self.engine, order_id)
        if record is None:
            raise OrderNotFound(str(order_id))
        change = lifecycle.decide(record, command, datetime.now(UTC))
        if change not in record.history:
            raise OrderUndecidable(order_id)
        return Answer(order=lifecycle.at(record, change.version), replayed=True)

    async def read(self, order_id: UUID) -> OrderRecord:
        """The order from its workflow, for when PostgreSQL does not have it (yet).

        Raises:
            OrderNotFound: there is no such workflow.
            OrderNotReadable: there is one, and no worker shows it in time.
        """
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            state = await handle.query(OrderWorkflow.order, rpc_timeout=self._rpc_timeout)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise OrderNotFound(str(order_id)) from None
            if error.status in _NO_WORKER:
                raise OrderNotReadable(order_id) from None
            raise
        return state.record

    async def _in_time(self, asking: Coroutine[Any, Any, Answer]) -> Answer | None:
        """The answer, or None where no worker gave it before the deadline.

        Raises:
            CommandRefused: the workflow said so.
        """
        try:
            async with asyncio.timeout(self.answer_deadline):
                return await asking
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            # The SDK answers a cancelled wait with an error of its own; a client that hung up is gone.
            if task := asyncio.current_task():
                task.uncancel()
            return None
        except WorkflowUpdateFailedError as failed:
            refusal = from_failure(failed.cause)
            if refusal is None:
                raise
            raise refusal from None

    @property
    def _rpc_timeout(self) -> timedelta:
        return timedelta(seconds=self.answer_deadline)


_NO_WORKER = {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.FAILED_PRECONDITION}


async def _change_and_wait(handle: WorkflowHandle[OrderWorkflow, Order], command: ChangeStatus) -> Answer:
    return await handle.execute_update(OrderWorkflow.change_status, command)


def _as_signal(command: ChangeStatus) -> StatusSignal:
    return StatusSignal(
        command_id=command.command_id,
        status=command.status,
        changed_by=command.changed_by,
        reason=command.reason,
        expected_version=command.expected_version,
    )


def _start_options(command: PlaceOrder) -> dict[str, Any]:
    """How an order's workflow is started, whichever call starts it.

    An id is never used twice: a second start meets the running workflow, or is refused once it ended.
    """
    return {
        "id": workflow_id(command.order_id),
        "task_queue": ORDERS_QUEUE,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(_CUSTOMER, command.customer_id),
                SearchAttributePair(_STATUS, OrderStatus.PENDING.value),
            ]
        ),
        "static_summary": summarize(command),
    }
