"""Sending commands to the workflows that own the orders, and waiting, for a while, for their answer."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.limits import CommandLimit
from api.reader import STATUS, Reader
from api.temporal import NoWorkflow, TemporalUnavailable, asking_temporal
from database import queries
from orders import lifecycle
from orders.commands import ChangeStatus, PlaceOrder
from orders.errors import CommandRefused, OrderNotFound
from orders.names import CUSTOMER_ATTRIBUTE, ORDERS_QUEUE, workflow_id
from orders.order import Order, OrderRecord, StatusChange
from orders.signals import StatusSignal
from orders.status import OrderStatus
from settings import Settings
from workflows.details import summarize
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

_CUSTOMER = SearchAttributeKey.for_keyword(CUSTOMER_ATTRIBUTE)


class OrderUndecidable(Exception):  # noqa: N818 - the name is the fact
    """PostgreSQL has an open order whose workflow is gone, so nobody can decide for it."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} is open and its workflow is gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The order after a command; `replayed` when the command had been carried out before."""

    order: Order
    replayed: bool


@dataclass(frozen=True)
class Dispatcher:
    """The way from the API to the workflows: make a command durable, then wait until its outcome is readable.

    Every call raises `TemporalUnavailable` when Temporal does not take it; nothing was promised then.
    """

    reader: Reader
    commands: CommandLimit
    looks: asyncio.Semaphore
    """How many waiting writes may look at PostgreSQL at once, so that reads find connections, too."""

    @classmethod
    def of(cls, settings: Settings, client: Client, engine: AsyncEngine) -> Self:
        """A dispatcher as the settings say."""
        return cls(
            reader=Reader(client=client, engine=engine, patience=settings.answer_deadline),
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
            async with asking_temporal(self.reader.patience):
                await self.reader.client.start_workflow(
                    OrderWorkflow.run,
                    OrderInput(place=command),
                    id=workflow_id(command.order_id),
                    task_queue=ORDERS_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=TypedSearchAttributes(
                        [
                            SearchAttributePair(_CUSTOMER, command.customer_id),
                            SearchAttributePair(STATUS, OrderStatus.PENDING.value),
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
        record = await self.reader.projected(command.order_id)
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
        try:
            async with asking_temporal(self.reader.patience):
                await self.reader.workflow(order_id).signal(OrderWorkflow.update_status, _as_signal(command))
        except NoWorkflow:
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
        if not await self.reader.is_running(order_id):
            return await self._decide_without_workflow(order_id, command)
        return Answer(order=lifecycle.apply(record, change).order, replayed=False)

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
                    record = await self.reader.projected(order_id)
                    if record is None:
                        return None
                    try:
                        lifecycle.decide(record, command, datetime.now(UTC))
                    except CommandRefused:
                        if record.order.status.is_terminal or await self.reader.is_current(record):
                            raise
                    else:
                        return record
                    await asyncio.sleep(pause)
        except (TimeoutError, TemporalUnavailable, NoWorkflow):
            pass
        return None

    async def _foresee(self, order_id: UUID, command: ChangeStatus) -> tuple[OrderRecord, StatusChange]:
        """The order as far as it can be seen, and what the command would do to it, or has done."""
        record = await self.reader.projected(order_id) or await self.reader.read(order_id)
        try:
            return record, lifecycle.decide(record, command, datetime.now(UTC))
        except CommandRefused:
            if record.order.status.is_terminal:
                raise
        record = await self.reader.read(order_id)
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
                        record = await self.reader.projected(order_id)
                    if record and (found := answer(record)):
                        return found
        except TimeoutError:
            pass
        return None

    async def _decide_without_workflow(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """Answer for an order whose workflow has ended: it moves no more, but it remembers."""
        record = await self.reader.projected(order_id)
        if record is None or not record.order.status.is_terminal:
            # A projection that has lost rows; a workflow that has ended is remembered for a while.
            try:
                record = await self.reader.read(order_id)
            except OrderNotFound:
                # Asked once more, for what a lost order and a lost connection have in common is no answer.
                record = record or await queries.get_record(self.reader.engine, order_id)
                if record is None:
                    raise
        change = lifecycle.decide(record, command, datetime.now(UTC))
        if change not in record.history:
            raise OrderUndecidable(order_id)
        return Answer(order=lifecycle.at(record, change.version), replayed=True)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.reader.patience


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
