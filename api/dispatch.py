"""Sending commands to the workflows that own the orders, and waiting, for a while, for their answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, reduce
from typing import Self, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.limits import CommandLimit
from api.pace import Pace
from api.reader import OrderNotReadable, Reader
from database import queries
from database.engine import DatabaseUnavailable
from orders import lifecycle
from orders.commands import ChangeStatus, PlaceOrder
from orders.errors import CommandRefused, OrderNotFound
from orders.order import Order, OrderRecord
from orders.signals import StatusSignal
from settings import Settings
from workflows.client import NoWorkflow, TemporalUnavailable, asking_temporal, order_workflow, start_order
from workflows.details import summarize
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

logger = logging.getLogger("api.dispatch")

_Found = TypeVar("_Found")


class OrderUndecidable(Exception):  # noqa: N818 - the name is the fact
    """PostgreSQL has an open order whose workflow is gone, so nobody can decide for it."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"Order {order_id} is open and its workflow is gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The order after a command; `replayed` when another request had it carried out."""

    order: Order
    replayed: bool


@dataclass(frozen=True)
class Dispatcher:
    """The way from the API to the workflows: make a command durable, then wait until its outcome is readable.

    Every call raises `TemporalUnavailable` when Temporal does not take it; nothing was promised then.
    """

    reader: Reader
    """Its patience is also how long an outcome is waited for before a command is left with Temporal."""
    commands: CommandLimit
    pace: Pace
    looks: asyncio.Semaphore
    """How many waiting writes may look at PostgreSQL at once, so that reads find connections, too."""

    @classmethod
    def of(cls, settings: Settings, client: Client, engine: AsyncEngine) -> Self:
        """A dispatcher as the settings say."""
        return cls(
            reader=Reader(client=client, engine=engine, patience=settings.answer_deadline),
            commands=CommandLimit(),
            pace=Pace(),
            looks=asyncio.Semaphore(max(1, settings.database_pool_size // 2)),
        )

    async def place(self, command: PlaceOrder, *, wait: bool) -> Answer | None:
        """Place an order; None when it is durable and not readable yet.

        Placing an order that exists already answers with that order, as it was placed.

        Raises:
            CommandIdReused: another command has placed an order under this id.
            OrderNotReadable: it has been placed before, and is gone again.
        """
        deadline = self._deadline()
        exists = False
        try:
            async with asking_temporal(self.reader.patience):
                await start_order(self.reader.client, OrderInput(place=command), summarize(command))
        except WorkflowAlreadyStartedError:
            exists = True
        answer = None
        if wait:
            answer = await self._watch(
                command.order_id, None, deadline, lambda record: _placed(record, command, replayed=exists)
            )
        if exists and answer is None:
            record = await self._as_started(command.order_id)
            if record is None:
                raise OrderNotReadable(command.order_id)
            lifecycle.check_same_order(record, command)
        return answer

    async def _as_started(self, order_id: UUID) -> OrderRecord | None:
        """The order that its workflow was started with, which Temporal alone says; None where it has none."""
        try:
            async with asking_temporal(self.reader.patience):
                workflow = order_workflow(self.reader.client, order_id)
                first = await anext(workflow.fetch_history_events(page_size=1))
        except NoWorkflow:
            return None
        payloads = first.workflow_execution_started_event_attributes.input.payloads
        start: OrderInput
        [start] = await self.reader.client.data_converter.decode(payloads, [OrderInput])
        return start.state(first.event_time.ToDatetime(UTC)).record

    async def foresee_place(self, command: PlaceOrder) -> Answer:
        """The order that a command would place, or has placed unbeknown to PostgreSQL; nothing is placed.

        Raises:
            CommandIdReused: another command has placed an order under this id.
        """
        record = await self._as_started(command.order_id)
        if record:
            return _placed(record, command, replayed=True)
        return Answer(order=lifecycle.place(command, datetime.now(UTC)).order, replayed=False)

    async def find_placed(self, command: PlaceOrder) -> Answer | None:
        """The order that this command has placed before, however long ago; None where there is none yet.

        Temporal forgets a finished workflow after its retention; PostgreSQL does not.

        Raises:
            CommandIdReused: another command has placed an order under this id.
        """
        record = await self._recall(command.order_id)
        return _placed(record, command, replayed=True) if record else None

    async def find_changed(self, order_id: UUID, command: ChangeStatus) -> Answer | None:
        """The order after this command was carried out before, however long ago; None where it was not yet.

        Raises:
            CommandIdReused: another command was carried out under its id.
        """
        record = await self._recall(order_id)
        return _replay(record, command) if record else None

    async def _recall(self, order_id: UUID) -> OrderRecord | None:
        """The order as PostgreSQL has it, if it says so in time."""
        try:
            async with asyncio.timeout_at(self._deadline()):
                return await self._from_postgresql(order_id)
        except TimeoutError:
            return None

    async def change(self, order_id: UUID, command: ChangeStatus, *, wait: bool) -> Answer | None:
        """Have the order's workflow carry out a command; None when it is durable and not decided yet.

        A caller who waits is told at once what was carried out before, and what the order would refuse, by
        the same rules that the workflow decides by; nothing is sent then.

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
        if seen and (done := _replay(seen, command)):
            return done
        self.commands.count(order_id)
        try:
            async with asking_temporal(self.reader.patience):
                workflow = order_workflow(self.reader.client, order_id)
                await workflow.signal(OrderWorkflow.update_status, StatusSignal.of(command))
        except NoWorkflow:
            return await self._decide_without_workflow(order_id, command)
        if not wait:
            return None
        return await self._watch(order_id, seen, deadline, lambda record: _outcome(record, command, seen))

    async def foresee(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """What a command would do, without sending it.

        Raises:
            InvalidValue, CommandRefused, OrderNotFound, OrderUndecidable: as `change` would.
            OrderNotReadable: the order exists, and nobody can say what it would do.
        """
        lifecycle.validate_change(command)
        seen = await self._look(order_id, command, self._deadline())
        if seen and (done := _replay(seen, command)):
            return done
        if await self.reader.workflow_status(order_id) is not WorkflowExecutionStatus.RUNNING:
            return await self._decide_without_workflow(order_id, command)
        record = seen or await self.reader.ask_workflow(order_id)
        if done := _replay(record, command):
            return done
        change = lifecycle.decide(record, command, datetime.now(UTC))
        return Answer(order=lifecycle.apply(record, change).order, replayed=False)

    async def _look(self, order_id: UUID, command: ChangeStatus, deadline: float) -> OrderRecord | None:
        """The order, as far as it can be seen, when it would carry out the command or has done so.

        PostgreSQL may lag behind, so what it refuses is refused only once Temporal says that nothing has
        happened since. Where nothing is on its way either, PostgreSQL has lost rows, and the workflow is to
        decide. It is not queried: a query that a new worker answers among signals can leave an order that
        does not replay (docs/decisions/0009).

        Raises:
            CommandRefused: the order would refuse it.
        """
        left_behind = 0
        try:
            async with asyncio.timeout_at(deadline):
                for pause in self.pace.pauses():
                    record = await self._from_postgresql(order_id)
                    if record is None or record.order.version == left_behind:
                        return None
                    try:
                        lifecycle.decide(record, command, datetime.now(UTC))
                    except CommandRefused:
                        if record.order.status.is_terminal:
                            raise
                        settled = await self.reader.settled_status(order_id)
                        if settled == record.order.status:
                            raise
                        # PostgreSQL had all before Temporal called it settled: the next look sees it.
                        left_behind = record.order.version if settled else 0
                    else:
                        return record
                    await asyncio.sleep(pause)
        except (TimeoutError, TemporalUnavailable, NoWorkflow):
            pass
        return None

    async def _watch(
        self,
        order_id: UUID,
        seen: OrderRecord | None,
        deadline: float,
        answer: Callable[[OrderRecord], Answer | None],
    ) -> Answer | None:
        """Look for changes since the order was seen, until what it is with them holds the answer.

        None when the deadline comes first.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        later_changes = partial(queries.get_history, after=seen.order.version if seen else 0)
        try:
            async with asyncio.timeout_at(deadline):
                for pause in self.pace.pauses():
                    await asyncio.sleep(pause)
                    changes = await self._ask_postgresql(later_changes, order_id)
                    if not changes:
                        continue
                    record = (
                        reduce(lifecycle.apply, changes, seen)
                        if seen
                        else await self._from_postgresql(order_id)
                    )
                    if record and (found := answer(record)):
                        self.pace.note(loop.time() - began)
                        return found
        except TimeoutError:
            logger.warning("Order %s: durable, and without a readable outcome so far", order_id)
        return None

    async def _from_postgresql(self, order_id: UUID) -> OrderRecord | None:
        """The order as PostgreSQL has it; None where it does not, or cannot be asked."""
        return await self._ask_postgresql(queries.get_record, order_id)

    async def _ask_postgresql(
        self, query: Callable[[AsyncEngine, UUID], Awaitable[_Found | None]], order_id: UUID
    ) -> _Found | None:
        try:
            async with self.looks:
                return await query(self.reader.engine, order_id)
        except DatabaseUnavailable as outage:
            logger.debug("%s", outage)
            return None

    async def _decide_without_workflow(self, order_id: UUID, command: ChangeStatus) -> Answer:
        """Answer for an order whose workflow has ended: it moves no more, but it remembers."""
        record = await self._from_postgresql(order_id)
        if record is None or (
            not record.order.status.is_terminal
            and await self.reader.workflow_status(order_id) is WorkflowExecutionStatus.COMPLETED
        ):
            # A projection that has lost rows; a workflow that has ended is remembered for a while. One that
            # was ended from outside is asked only where nothing else is known: no worker may answer for it.
            try:
                record = await self.reader.ask_workflow(order_id)
            except OrderNotFound:
                # Asked once more, for what a lost order and a lost connection have in common is no answer.
                record = record or await queries.get_record(self.reader.engine, order_id)
                if record is None:
                    raise
        if done := _replay(record, command):
            return done
        lifecycle.decide(record, command, datetime.now(UTC))
        raise OrderUndecidable(order_id)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.reader.patience


def _placed(record: OrderRecord, command: PlaceOrder, *, replayed: bool) -> Answer:
    lifecycle.check_same_order(record, command)
    return Answer(order=lifecycle.at(record, 1), replayed=replayed)


def _replay(record: OrderRecord, command: ChangeStatus) -> Answer | None:
    """The answer to a command that was carried out before; None where it was not."""
    change = lifecycle.find(record, command)
    return Answer(order=lifecycle.at(record, change.version), replayed=True) if change else None


def _outcome(record: OrderRecord, command: ChangeStatus, seen: OrderRecord | None) -> Answer | None:
    """What became of a command that was sent when the order was as seen; None while that is open.

    An order that has moved on without the command has refused it: a status that was left never
    comes back, and neither does a version.

    Raises:
        CommandRefused: the order has moved on.
    """
    if change := lifecycle.find(record, command):
        # Of requests that raced with one key, each has sent its command, and one command was carried out.
        is_of_another = change.request_id != command.request_id
        return Answer(order=lifecycle.at(record, change.version), replayed=is_of_another)
    if seen and record.order.version > seen.order.version:
        lifecycle.decide(record, command, datetime.now(UTC))
    return None
