"""What an order waits for, in words, with everything that Temporal knows about it."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from api.reader import Inspection
from api.schemas import (
    ExplainedActivity,
    ExplainedTask,
    ExplainedWorkflow,
    Explanation,
    RejectionView,
)
from orders.names import ORDERS_QUEUE
from orders.order import Order
from orders.status import OrderStatus


def explain(order_id: UUID, found: Inspection, ui_url: str) -> Explanation:
    """Put together what was found out; `ui_url` is where people reach the Temporal Web UI."""
    order = found.state.record.order if found.state else found.projected
    rejections = found.state.rejections if found.state else ()
    return Explanation(
        order_id=order_id,
        waits_for=_waits_for(found, order),
        status=order.status if order else None,
        version=order.version if order else None,
        projected_version=found.projected.version if found.projected else None,
        workflow=_workflow(found.description, ui_url),
        pending_task=_task(found.description),
        pending_activities=_activities(found.description),
        rejections=[RejectionView.model_validate(rejection) for rejection in rejections],
    )


def _waits_for(found: Inspection, order: Order | None) -> str:
    activities, task = _activities(found.description), _task(found.description)
    status = found.description.status if found.description else None
    if activities:
        first = activities[0]
        failure = f": {first.last_failure}" if first.last_failure else ""
        return f"Attempt {first.attempt} of the activity {first.type} to succeed{failure}"
    if order and order.status.is_terminal:
        return f"Nothing: the order is {order.status}"
    if status is not WorkflowExecutionStatus.RUNNING:
        ended = status.name if status else "gone"
        return f"Nobody: its workflow is {ended} and the order is open; `orders doctor` says what to do"
    if task and task.attempt > 1:
        return f"Attempt {task.attempt} of its workflow task to succeed; the workers' log says what fails"
    if found.state is None or order is None:
        return f"A worker that serves the queue {ORDERS_QUEUE!r} and can show the order: {found.silence}"
    who = "The next promotion, or a command" if order.status is OrderStatus.PENDING else "A command"
    return f"{who}: {' or '.join(order.allowed_transitions)}"


def _workflow(description: WorkflowExecutionDescription | None, ui_url: str) -> ExplainedWorkflow | None:
    if description is None:
        return None
    namespace = quote(description.namespace or "", safe="")
    path = f"namespaces/{namespace}/workflows/{description.id}/{description.run_id}/history"
    return ExplainedWorkflow(
        id=description.id,
        run_id=str(description.run_id),
        status=description.status.name if description.status else "UNKNOWN",
        started_at=description.start_time,
        closed_at=description.close_time,
        history_events=description.history_length,
        web_ui=f"{ui_url.rstrip('/')}/{path}",
    )


def _activities(description: WorkflowExecutionDescription | None) -> list[ExplainedActivity]:
    if description is None:
        return []
    return [_activity(pending) for pending in description.raw_description.pending_activities]


def _activity(pending: PendingActivityInfo) -> ExplainedActivity:
    return ExplainedActivity(
        type=pending.activity_type.name,
        state=PendingActivityState.Name(pending.state).removeprefix("PENDING_ACTIVITY_STATE_"),
        attempt=pending.attempt,
        last_failure=pending.last_failure.message or None,
        next_attempt_at=_moment(pending, "next_attempt_schedule_time"),
    )


def _moment(message: PendingActivityInfo | PendingWorkflowTaskInfo, field: str) -> datetime | None:
    if not message.HasField(field):  # type: ignore[arg-type]
        return None
    moment: Timestamp = getattr(message, field)
    return moment.ToDatetime(tzinfo=UTC)


def _task(description: WorkflowExecutionDescription | None) -> ExplainedTask | None:
    if description is None or not description.raw_description.HasField("pending_workflow_task"):
        return None
    pending = description.raw_description.pending_workflow_task
    return ExplainedTask(attempt=pending.attempt, scheduled_at=_moment(pending, "scheduled_time"))
