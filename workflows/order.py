"""The order as a durable process: it owns its state, decides every command, and projects itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TypedDict, Unpack

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.projection import ProjectionActivities
    from orders import lifecycle
    from orders.commands import ChangeStatus
    from orders.errors import OrderError
    from orders.names import STATUS_ATTRIBUTE
    from orders.order import Order, OrderRecord, StatusChange
    from orders.signals import CancelSignal, StatusSignal
    from workflows.details import describe
    from workflows.failures import to_failure
    from workflows.state import Answer, OrderInput, OrderState, Rejection

REMEMBERED_REJECTIONS = 20

_STATUS = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)

# The fast way: inside the workflow task that carries out the command, so that one round trip to
# Temporal does both. Its budget stays well below a workflow task's ten seconds.
_LOCAL_BUDGET = timedelta(seconds=2)
_LOCAL_RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=3)
# The sure way: Temporal keeps it, shows its failure in the Web UI, and tries for as long as it takes.
_ATTEMPT_TIMEOUT = timedelta(seconds=15)
_ENDLESS_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)
)


class _StateChanges(TypedDict, total=False):
    record: OrderRecord
    projected_version: int
    rejections: tuple[Rejection, ...]


@workflow.defn(name="OrderWorkflow")
class OrderWorkflow:
    """One order, from placed to DELIVERED or CANCELLED.

    Commands are decided where they arrive, at once and in their order of arrival; `run` follows
    behind and brings what was decided to PostgreSQL.
    """

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        self._place = start.place
        self._state = start.carried or OrderState(
            record=lifecycle.place(start.place, workflow.info().workflow_start_time)
        )
        self._placing_answered = start.carried is not None
        workflow.set_current_details(describe(self._state))

    @workflow.run
    async def run(self, _: OrderInput) -> Order:
        """Live until the order is over; the order as it ended is the workflow's result."""
        life = asyncio.create_task(self._live())
        try:
            await asyncio.shield(life)
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is None:
                raise  # The worker lets this workflow go from its cache; it lives on elsewhere.
            # Somebody pressed "Request Cancellation" in the Web UI: they mean the order.
            self._receive(CancelSignal(changed_by="workflow-cancellation"))
            await life
        if not self._order.status.is_terminal:
            workflow.continue_as_new(OrderInput(place=self._place, carried=self._state))
        return self._order

    async def _live(self) -> None:
        """Project every change as it comes, until the order is over or its history has grown long."""
        while True:
            await workflow.wait_condition(lambda: self._is_behind() or self._may_rest())
            if not self._is_behind():
                return
            await self._project()

    def _is_behind(self) -> bool:
        return self._state.projected_version < self._order.version

    def _may_rest(self) -> bool:
        """Whether this run may end, so that no handler is cut off and none waits for a projection."""
        is_last = self._order.status.is_terminal or workflow.info().is_continue_as_new_suggested()
        return is_last and workflow.all_handlers_finished()

    async def _project(self) -> None:
        record = self._state.record
        try:
            await workflow.execute_local_activity_method(
                ProjectionActivities.project_order,
                record,
                schedule_to_close_timeout=_LOCAL_BUDGET,
                retry_policy=_LOCAL_RETRIES,
            )
        except ActivityError:
            await workflow.execute_activity_method(
                ProjectionActivities.project_order,
                record,
                start_to_close_timeout=_ATTEMPT_TIMEOUT,
                retry_policy=_ENDLESS_RETRIES,
                summary=f"version {record.order.version}: {record.order.status}",
            )
        self._set(projected_version=record.order.version)

    @workflow.update
    async def placed(self) -> Answer:
        """Answer with the order as it was placed, once PostgreSQL has it."""
        replayed, self._placing_answered = self._placing_answered, True
        return await self._answer(version=1, replayed=replayed)

    @workflow.update
    async def change_status(self, command: ChangeStatus) -> Answer:
        """Carry out the command and answer with the order after it, once PostgreSQL has it."""
        before = self._order.version
        change = self._carry_out(command)
        return await self._answer(change.version, replayed=change.version <= before)

    @change_status.validator
    def _refuse_change(self, command: ChangeStatus) -> None:
        """Refuse before the command enters the history, so that a refused update costs nothing."""
        try:
            lifecycle.decide(self._state.record, command, workflow.now())
        except OrderError as refusal:
            raise to_failure(refusal) from None

    @workflow.signal
    def update_status(self, signal: StatusSignal) -> None:
        """Carry out a change of status, or remember why not."""
        self._receive(signal)

    @workflow.signal
    def cancel(self, signal: CancelSignal = CancelSignal()) -> None:  # noqa: B008 - immutable
        """Cancel the order, or remember why not."""
        self._receive(signal)

    @workflow.query
    def order(self) -> OrderState:
        """The order, its history, the version that PostgreSQL has, and the latest rejections."""
        return self._state

    @property
    def _order(self) -> Order:
        return self._state.record.order

    def _carry_out(self, command: ChangeStatus) -> StatusChange:
        """Decide the command and take the order where it goes.

        Raises:
            OrderError: the command is refused and nothing has changed.
        """
        change = lifecycle.decide(self._state.record, command, workflow.now())
        record = lifecycle.apply(self._state.record, change)
        if record is not self._state.record:
            self._set(record=record)
            workflow.upsert_search_attributes([_STATUS.value_set(record.order.status)])
            workflow.logger.info("%s by %s", change.new_status, change.changed_by)
        return change

    async def _answer(self, version: int, *, replayed: bool) -> Answer:
        await workflow.wait_condition(lambda: self._state.projected_version >= version)
        return Answer(order=lifecycle.at(self._state.record, version), replayed=replayed)

    def _receive(self, signal: StatusSignal | CancelSignal) -> None:
        """Carry out what a signal asks; its sender waits for no answer, so a refusal is kept here."""
        try:
            self._carry_out(signal.command(new_id=str(workflow.uuid4())))
        except OrderError as refusal:
            rejection = Rejection(
                command_id=signal.command_id,
                status=signal.status,
                changed_by=signal.changed_by,
                rejected_at=workflow.now(),
                reason=str(refusal),
            )
            kept = (*self._state.rejections, rejection)[-REMEMBERED_REJECTIONS:]
            self._set(rejections=kept)
            workflow.logger.warning("Refused a signal: %s", refusal)

    def _set(self, **changes: Unpack[_StateChanges]) -> None:
        self._state = replace(self._state, **changes)
        workflow.set_current_details(describe(self._state))
