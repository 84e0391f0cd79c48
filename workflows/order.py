"""The order as a durable process: it owns its state, decides every command, and projects itself."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypedDict, Unpack

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.projection import ProjectionActivities
    from orders import lifecycle
    from orders.errors import OrderError
    from orders.order import Order, OrderRecord, StatusChange
    from orders.signals import CancelSignal, StatusSignal, read_cancel_signal, read_status_signal
    from workflows.attributes import STATUS
    from workflows.details import describe
    from workflows.state import OrderInput, OrderState, Rejection

REMEMBERED_REJECTIONS = 20
_LONGEST_NAME = 100

_NOT_A_COMMAND = "Cancelling the workflow does not cancel the order; the signal `cancel` does"

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

    Commands arrive as signals, which are durable before anything happens, and are decided at once and
    in their order of arrival; `run` follows behind and brings what was decided to PostgreSQL. Nothing
    else decides, so that a decision that a crash undoes is made again just as it was: a local activity
    may project it before Temporal has recorded it (docs/decisions/0002).
    """

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        self._state = start.state(workflow.info().workflow_start_time)
        # What is to be projected, a step for each signal, and carried out step by step: so the commands to
        # Temporal depend on the order of events alone, and not on how many of them came at once, which may
        # differ between a life and its replay (docs/decisions/0009).
        self._steps: deque[OrderRecord] = deque()
        if self._state.projected_version < self._state.record.order.version:
            self._steps.append(self._state.record)
        self._shown_status = self._state.record.order.status
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
            request = CancelSignal(changed_by="cancellation request")
            self._remember(Rejection.of(request, workflow.now(), reason=_NOT_A_COMMAND))
            await life
        if not self._order.status.is_terminal:
            workflow.continue_as_new(OrderInput(carried=self._state))
        return self._order

    async def _live(self) -> None:
        """Project every change as it comes, until the order is over or its history has grown long."""
        while True:
            await workflow.wait_condition(lambda: bool(self._steps) or self._may_end())
            if not self._steps:
                return
            await self._project(self._steps.popleft())

    def _may_end(self) -> bool:
        return self._order.status.is_terminal or workflow.info().is_continue_as_new_suggested()

    async def _project(self, record: OrderRecord) -> None:
        if record.order.status is not self._shown_status:
            self._shown_status = record.order.status
            workflow.upsert_search_attributes([STATUS.value_set(self._shown_status)])
        try:
            await workflow.execute_local_activity_method(
                ProjectionActivities.project_order,
                record,
                schedule_to_close_timeout=_LOCAL_BUDGET,
                retry_policy=_LOCAL_RETRIES,
            )
        except FailureError:
            # Not `ActivityError`: a local activity that timed out raises that when it happens, and a bare
            # `TimeoutError` when it is replayed (temporalio 1.35); the order must survive both alike.
            await workflow.execute_activity_method(
                ProjectionActivities.project_order,
                record,
                start_to_close_timeout=_ATTEMPT_TIMEOUT,
                retry_policy=_ENDLESS_RETRIES,
                summary=f"version {record.order.version}: {record.order.status}",
            )
        self._set(projected_version=record.order.version)

    # The signals take any arguments: what the SDK cannot pass to a handler fails the workflow task, for
    # ever, and people write signals by hand.

    @workflow.signal
    def update_status(self, *arguments: object) -> None:
        """Carry out a change of status (`{"status": "SHIPPED"}`), or remember why not."""
        self._receive(lambda: read_status_signal(arguments))

    @workflow.signal
    def cancel(self, *arguments: object) -> None:
        """Cancel the order, or remember why not."""
        self._receive(lambda: read_cancel_signal(arguments))

    @workflow.signal(dynamic=True)
    def _unknown(self, name: str, _: Sequence[RawValue]) -> None:
        """Remember a signal that has no meaning."""
        reason = f"There is no signal {name[:_LONGEST_NAME]!r}; there are update_status and cancel"
        self._remember(Rejection.of(None, workflow.now(), reason))

    @workflow.query
    def order(self) -> OrderState:
        """The order, its history, the version that PostgreSQL has, and the latest rejections."""
        return self._state

    @property
    def _order(self) -> Order:
        return self._state.record.order

    def _receive(self, read: Callable[[], StatusSignal | CancelSignal]) -> None:
        """Carry out what a signal asks; its sender waits for no answer, so a refusal is kept here."""
        now = workflow.now()
        signal = None
        try:
            signal = read()
            command = signal.command(new_id=str(workflow.uuid4()))
            change = lifecycle.decide(self._state.record, command, now)
        except OrderError as refusal:
            self._remember(Rejection.of(signal, now, reason=str(refusal)))
        else:
            self._carry_out(change)
        # Projected even where nothing has changed: a command that was refused, or that came twice, may be one
        # whose sender was misled by a projection that has lost rows (a failover, a restored backup).
        self._steps.append(self._state.record)

    def _carry_out(self, change: StatusChange) -> None:
        record = lifecycle.apply(self._state.record, change)
        if record is self._state.record:
            return
        self._set(record=record)
        workflow.logger.info(
            "%s by %s", change.new_status, change.changed_by, extra={"request_id": change.request_id}
        )

    def _remember(self, rejection: Rejection) -> None:
        workflow.logger.warning(
            "Refused a signal: %s", rejection.reason, extra={"request_id": rejection.request_id}
        )
        self._set(rejections=(*self._state.rejections, rejection)[-REMEMBERED_REJECTIONS:])

    def _set(self, **changes: Unpack[_StateChanges]) -> None:
        self._state = replace(self._state, **changes)
        workflow.set_current_details(describe(self._state))
