"""Sending commands to the workflows that own the orders, and waiting, for a while, for their answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.limits import CommandLimit
from database import queries
from database.engine import DatabaseUnavailable
from orders import lifecycle
from orders.commands import ChangeStatus, PlaceOrder
from orders.errors import CommandRefused, OrderNotFound
from orders.names import CUSTOMER_ATTRIBUTE, ORDERS_QUEUE, STATUS_ATTRIBUTE, workflow_id
from orders.order import Order, OrderRecord, StatusChange
from orders.signals import StatusSignal
from orders.status import OrderStatus
from settings import Settings
from workflows.details import summarize
from workflows.order import OrderWorkflow
from workflows.state import OrderInput, OrderState

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


class TemporalUnavailable(Exception):  # noqa: N818 - the name is the fact
    """Temporal did not take a call, so nothing was promised."""


class _NoWorkflow(Exception):  # noqa: N818 - the name is the fact
    """There is no such workflow, or it has ended."""


# A mistake of ours or of the deployment: asking again later would not help.
_NEVER_HEALS = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,
}


@asynccontextmanager
async def _asking_temporal(patience: float) -> AsyncIterator[None]:
    """Tell apart that there is no such workflow, and that Temporal says nothing for `patience` seconds.

    Raises:
        _NoWorkflow: there is none, or it has ended.
        TemporalUnavailable: Temporal could not be reached, or could not do it now.
    """
    try:
        # Not `rpc_timeout`: the client retries, and that bounds each attempt only.
        async with asyncio.timeout(patience):
            yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not _is_about_the_namespace(error):
            raise _NoWorkflow from error
        if error.status in _NEVER_HEALS:
            raise
        raise TemporalUnavailable(f"Temporal: {error.status.name}: {error.message}") from error
    except TimeoutError as error:
        raise TemporalUnavailable(f"Temporal did not answer within {patience:g} s") from error
    except RuntimeError as error:
        # A client that connects at its first call raises this where it cannot.
        raise TemporalUnavailable(f"Temporal: {str(error).strip().splitlines()[-1]}") from error


def _is_about_the_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return bool(details) and details[0].Is(NamespaceNotFoundFailure.DESCRIPTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The order after a command; `replayed` when the command had been carried out before."""

    order: Order
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What Temporal says of an order's workflow, the workflow of the order, and PostgreSQL of both.

    None where Temporal has forgotten the workflow, no worker shows its state, PostgreSQL has no order.
    """

    description: WorkflowExecutionDescription | None
    state: OrderState | None
    projected: Order | None


@dataclass(frozen=True)
class Dispatcher:
    """The way from the API to the workflows: make a command durable, then wait until its outcome is readable.

    Every call raises `TemporalUnavailable` when Temporal does not take it; nothing was promised then.
    """

    client: Client
    engine: AsyncEngine
    answer_deadline: float
    """Seconds to wait for an outcome before a command is left with Temporal."""
    commands: CommandLimit
    looks: asyncio.Semaphore
    """How many waiting writes may look at PostgreSQL at once, so that reads find connections, too."""

    @classmethod
    def of(cls, settings: Settings, client: Client, engine: AsyncEngine) -> Self:
        """A dispatcher as the settings say."""
        return cls(
            client=client,
            engine=engine,
            answer_deadline=settings.answer_deadline,
            commands=CommandLimit(),
            looks=asyncio.Semaphore(max(1, settings.database_pool_size // 2)),
        )

    async def place(self, command: PlaceOrder, *, wait: bool) -> Answer | None:
        """Place an order; None when it is durable and not readable yet.

        Placing an order that exists already answers with that order, as it was placed.
        """
        deadline = self._deadline()
        replayed = False
        try:
            async with _asking_temporal(self.answer_deadline):
                await self.client.start_workflow(
                    OrderWorkflow.run,
                    OrderInput(place=command),
                    id=workflow_id(command.order_id),
                    task_queue=ORDERS_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=TypedSearchAttributes(
                        [
                            SearchAttributePair(_CUSTOMER, command.customer_id),
                            SearchAttributePair(_STATUS, OrderStatus.PENDING.value),
                        ]
                    ),
                    static_summary=summarize(command),
                )
        except WorkflowAlreadyStartedError:
            replayed = True
        if not wait:
            return None
        return await self._watch(
            command.order_id, deadline, lambda record: _placed(record, command, replayed=replayed)
        )

    def foresee_place(self, command: PlaceOrder) -> Answer:
        """The order that a command would place, without placing it."""
        return Answer(order=lifecycle.place(command, datetime.now(UTC)).order, replayed=False)

    async def find_placed(self, command: PlaceOrder) -> Answer | None:
        """The order that this command has placed before, however long ago; None where there is none yet.

        Temporal forgets a finished workflow after its retention; PostgreSQL does not.

        Raises:
            CommandIdReused: another command has placed an order under this id.
        """
        record = await self._projected(command.order_id)
        return _placed(record, command, replayed=True) if record else None

    async def change(self, order_id: UUID, command: ChangeStatus, *, wait: bool) -> Answer | None:
        """Have the order's workflow carry out a command; None when it is durable and not decided yet.

        A caller who waits is told at once what the order would refuse, by the same rules that the
        workflow decides by, and nothing is sent then.

        Raises:
            InvalidValue: the command could not be stored.
            CommandRefused: the order does not do this.
            OrderNotFound: there is no such order.
            OrderUndecidable: the order is open and its workflow is gone.
            TooMany: the order was sent too many commands.
        """
        lifecycle.validate_change(command)
        deadline = self._deadline()
        seen = await self._look(order_id, command, deadline) if wait else None
        if seen and (change := lifecycle.find(seen, command)):
            return Answer(order=lifecycle.at(seen, change.version), replayed=True)
        self.commands.count(order_id)
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            async with _asking_temporal(self.answer_deadline):
                await handle.signal(OrderWorkflow.update_status, _as_signal(command))
        except _NoWorkflow:
            return await self._decide_without_workflow(order_id, command)
        if not wait:
            return None
        return await self._watch(order_id, deadline, lambda record: _outcome(record, command, seen))

    async def foresee(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """What a command would do, without sending it.

        Raises:
            InvalidValue, CommandRefused, OrderNotFound, OrderUndecidable: as `change` would.
            OrderNotReadable: the order exists, and nobody can say what it would do.
        """
        record, change = await self._foresee(order_id, command)
        if change in record.history:
            return Answer(order=lifecycle.at(record, change.version), replayed=True)
        if not await self._is_running(order_id):
            return await self._decide_without_workflow(order_id, command)
        return Answer(order=lifecycle.apply(record, change).order, replayed=False)

    async def _is_running(self, order_id: UUID) -> bool:
        """Whether the order has a workflow that can decide."""
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            async with _asking_temporal(self.answer_deadline):
                description = await handle.describe()
        except _NoWorkflow:
            return False
        return description.status is WorkflowExecutionStatus.RUNNING

    async def _look(self, order_id: UUID, command: ChangeStatus, deadline: float) -> OrderRecord | None:
        """The order, as far as it can be seen, when it would carry out the command or has done so.

        PostgreSQL may lag behind, so what it refuses is refused only once Temporal says that nothing has
        happened since. The workflow is not queried: a query that a new worker answers among signals can
        leave an order that does not replay (docs/decisions/0009).

        Raises:
            CommandRefused: the order would refuse it.
        """
        try:
            async with asyncio.timeout_at(deadline):
                for pause in _pauses():
                    record = await self._projected(order_id)
                    if record is None:
                        return None
                    try:
                        lifecycle.decide(record, command, datetime.now(UTC))
                    except CommandRefused:
                        if record.order.status.is_terminal or await self._is_current(record):
                            raise
                    else:
                        return record
                    await asyncio.sleep(pause)
        except (TimeoutError, TemporalUnavailable, _NoWorkflow):
            pass
        return None

    async def _is_current(self, record: OrderRecord) -> bool:
        """Whether the order is still as in the record, with no command on its way to be decided.

        A status never comes back, so that the same status is the same version; a command that waits for
        its decision is a workflow task that is pending, and a decision that waits for PostgreSQL a pending
        activity. Raises `_NoWorkflow` without one.
        """
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(record.order.id))
        async with _asking_temporal(self.answer_deadline):
            description = await handle.describe()
        pending = description.raw_description
        is_busy = pending.HasField("pending_workflow_task") or bool(pending.pending_activities)
        status = description.typed_search_attributes.get(_STATUS)
        return not is_busy and status == record.order.status

    async def _foresee(self, order_id: UUID, command: ChangeStatus) -> tuple[OrderRecord, StatusChange]:
        """The order as far as it can be seen, and what the command would do to it, or has done."""
        record = await self._projected(order_id) or await self.read(order_id)
        try:
            return record, lifecycle.decide(record, command, datetime.now(UTC))
        except CommandRefused:
            if record.order.status.is_terminal:
                raise
        record = await self.read(order_id)
        return record, lifecycle.decide(record, command, datetime.now(UTC))

    async def _watch(
        self, order_id: UUID, deadline: float, answer: Callable[[OrderRecord], Answer | None]
    ) -> Answer | None:
        """Look at the projection until it holds the answer; None when the deadline comes first."""
        try:
            async with asyncio.timeout_at(deadline):
                for pause in _pauses():
                    await asyncio.sleep(pause)
                    async with self.looks:
                        record = await self._projected(order_id)
                    if record and (found := answer(record)):
                        return found
        except TimeoutError:
            pass
        return None

    async def _projected(self, order_id: UUID) -> OrderRecord | None:
        """The order as PostgreSQL has it; None where it does not, or cannot be asked."""
        try:
            return await queries.get_record(self.engine, order_id)
        except DatabaseUnavailable as outage:
            logger.debug("%s", outage)
            return None

    async def _decide_without_workflow(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """Answer for an order whose workflow has ended: it moves no more, but it remembers."""
        record = await self._projected(order_id)
        if record is None or not record.order.status.is_terminal:
            # A projection that has lost rows; a workflow that has ended is remembered for a while.
            try:
                record = await self.read(order_id)
            except OrderNotFound:
                # Asked once more, for what a lost order and a lost connection have in common is no answer.
                record = record or await queries.get_record(self.engine, order_id)
                if record is None:
                    raise
        change = lifecycle.decide(record, command, datetime.now(UTC))
        if change not in record.history:
            raise OrderUndecidable(order_id)
        return Answer(order=lifecycle.at(record, change.version), replayed=True)

    async def read(self, order_id: UUID) -> OrderRecord:
        """The order from its workflow, which is never behind.

        Raises:
            OrderNotFound: there is no such workflow.
            OrderNotReadable: there is one, and no worker shows it in time.
        """
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            # Asked first, because Temporal answers for itself here, and a query needs a worker.
            async with _asking_temporal(self.answer_deadline):
                await handle.describe()
        except _NoWorkflow:
            raise OrderNotFound(str(order_id)) from None
        try:
            async with _asking_temporal(self.answer_deadline):
                state = await handle.query(OrderWorkflow.order)
        except (TemporalUnavailable, _NoWorkflow):
            raise OrderNotReadable(order_id) from None
        return state.record

    async def inspect(self, order_id: UUID) -> Inspection:
        """All that can be found out about an order now.

        Raises:
            OrderNotFound: neither Temporal nor PostgreSQL has it.
            DatabaseUnavailable: Temporal has no workflow, and PostgreSQL cannot be asked.
        """
        handle = self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))
        try:
            async with _asking_temporal(self.answer_deadline):
                description = await handle.describe()
        except _NoWorkflow:
            projected = await queries.get_order(self.engine, order_id)
            if projected is None:
                raise OrderNotFound(str(order_id)) from None
            return Inspection(description=None, state=None, projected=projected)
        try:
            async with _asking_temporal(self.answer_deadline):
                state = await handle.query(OrderWorkflow.order)
        except (TemporalUnavailable, _NoWorkflow):
            state = None
        record = await self._projected(order_id)
        return Inspection(description=description, state=state, projected=record.order if record else None)

    async def check_reachable(self) -> None:
        """Return once Temporal has answered; raise `TemporalUnavailable` when it does not."""
        async with _asking_temporal(self.answer_deadline):
            await self.client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.client.namespace)
            )

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.answer_deadline


def _pauses() -> Iterator[float]:
    """Seconds to wait between one look and the next, without end."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)


# Most outcomes are readable after some ten milliseconds; a busy system is asked less and less often.
_FIRST_PAUSE = 0.008
_PAUSE_GROWTH = 1.4
_LONGEST_PAUSE = 0.25


def _placed(record: OrderRecord, command: PlaceOrder, *, replayed: bool) -> Answer:
    lifecycle.check_same_order(record, command)
    return Answer(order=lifecycle.at(record, 1), replayed=replayed)


def _outcome(record: OrderRecord, command: ChangeStatus, seen: OrderRecord | None) -> Answer | None:
    """What became of a command that was sent when the order was as seen; None while that is open.

    An order that has moved on without the command has refused it: a status that was left never
    comes back, and neither does a version.

    Raises:
        CommandRefused: the order has moved on.
    """
    if change := lifecycle.find(record, command):
        return Answer(order=lifecycle.at(record, change.version), replayed=False)
    if seen and record.order.version > seen.order.version:
        lifecycle.decide(record, command, datetime.now(UTC))
    return None


def _as_signal(command: ChangeStatus) -> StatusSignal:
    return StatusSignal(
        command_id=command.command_id,
        status=command.status,
        changed_by=command.changed_by,
        reason=command.reason,
        expected_version=command.expected_version,
        on_behalf_of=command.on_behalf_of,
        request_id=command.request_id,
    )
