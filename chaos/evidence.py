"""What is there after a run, read from PostgreSQL with SQL of its own and from Temporal with its client."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode

from chaos.fold import Run, Signal, Story, story_of_record

AT_ONCE = 8
QUERY_PATIENCE = timedelta(seconds=30)


@dataclass(kw_only=True)
class OrderEvidence:
    """All that is known of one order: `answer` is its workflow's, as JSON; `row` is PostgreSQL's story."""

    id: str
    runs: list[Run] = field(default_factory=list)
    histories: list[WorkflowHistory] = field(default_factory=list)
    is_over: bool = False
    answer: dict[str, Any] | None = None
    row: Story | None = None
    failed_tasks: Counter[str] = field(default_factory=Counter)
    silence: str = ""
    """Why the workflow does not answer, if so."""

    @cached_property
    def told(self) -> Story | None:
        """The story that the workflow tells."""
        return story_of_record(self.answer["record"]) if self.answer else None

    @property
    def signals(self) -> list[Signal]:
        """Every signal that the order was sent."""
        return [signal for run in self.runs for signal in run.signals]


async def gather(client: Client, database_url: str, known: Iterable[str]) -> dict[str, OrderEvidence]:
    """The evidence of every order that PostgreSQL, Temporal's list or the caller knows of, by order id."""
    rows = await read_rows(database_url)
    listed = {
        execution.id.removeprefix("order-")
        async for execution in client.list_workflows("WorkflowType = 'OrderWorkflow'")
    }
    orders = {id_: OrderEvidence(id=id_, row=rows.get(id_)) for id_ in rows.keys() | listed | set(known)}
    places = asyncio.Semaphore(AT_ONCE)

    async def read(order: OrderEvidence) -> None:
        async with places:
            await _read_workflow(client, order)

    await asyncio.gather(*(read(order) for order in orders.values()))
    return orders


async def gather_sweeps(client: Client) -> list[WorkflowHistory]:
    """The history of every promotion."""
    listed = client.list_workflows("WorkflowType = 'PromotionWorkflow'")
    return [
        await client.get_workflow_handle(sweep.id, run_id=sweep.run_id).fetch_history()
        async for sweep in listed
    ]


async def _read_workflow(client: Client, order: OrderEvidence) -> None:
    """Fetch the latest run and those before it, and ask the workflow."""
    workflow = f"order-{order.id}"
    handle = client.get_workflow_handle(workflow)
    try:
        described = await handle.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return
        raise
    order.is_over = described.status is not WorkflowExecutionStatus.RUNNING
    run_id: str | None = described.run_id
    while run_id:
        history = await client.get_workflow_handle(workflow, run_id=run_id).fetch_history()
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        order.histories.insert(0, history)
        order.runs.insert(0, read_run(history.events))
        order.failed_tasks += Counter(_failed_tasks(history.events))
    try:
        order.answer = await handle.query("order", rpc_timeout=QUERY_PATIENCE)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        order.silence = str(error)


def read_run(events: Iterable[HistoryEvent]) -> Run:
    """The start and the signals of a run, each signal with the time of the first task that carried it out."""
    events = list(events)
    started = events[0].workflow_execution_started_event_attributes
    signals: list[Signal] = []
    waiting: list[HistoryEvent] = []
    decided = _decisions(events)
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            waiting.append(event)
        elif event.event_id in decided:
            signals += [_signal(it, *decided[event.event_id]) for it in waiting]
            waiting.clear()
    # Those that no task has seen are decided by nobody yet.
    signals += [_signal(it, _time(it), None) for it in waiting]
    return Run(started=_time(events[0]), start=json.loads(started.input.payloads[0].data), signals=signals)


def _decisions(events: list[HistoryEvent]) -> dict[int, tuple[datetime, datetime | None]]:
    """When a workflow task decides, first and replayed, by the id of its start, of those that were completed.

    It is the time of its start, or of the end of a local activity that the workflow hears of first.
    """
    times = {
        event.event_id: _time(event)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    }
    starts = {
        event.event_id: event.workflow_task_completed_event_attributes.started_event_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    }
    decided = {start: times[start] for start in starts.values()}
    for event in events:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name == "core_local_activity":
            told = json.loads(marker.details["data"].payloads[0].data)
            if told["activation_index"] == 0:
                start = starts[marker.workflow_task_completed_event_id]
                ended = Timestamp(**told["complete_time"]).ToDatetime(tzinfo=UTC)
                decided[start] = max(decided[start], ended)
    tasks = {
        event.workflow_task_started_event_attributes.scheduled_event_id: event.event_id
        for event in events
        if event.event_id in decided
    }
    replayed = {
        starts[one.event_id]: tasks[other.event_id]
        for one, other in pairwise(events)
        if one.event_id in starts and other.event_id in tasks
    }
    return {start: (time, decided.get(_last(replayed, start))) for start, time in decided.items()}


def _last(following: dict[int, int], start: int) -> int:
    """The start of the task that ends a row of tasks which recorded nothing."""
    while start in following:
        start = following[start]
    return start


def _signal(event: HistoryEvent, decided: datetime, replayed: datetime | None) -> Signal:
    said = event.workflow_execution_signaled_event_attributes
    arguments = [json.loads(payload.data or b"null") for payload in said.input.payloads]
    return Signal(name=said.signal_name, arguments=arguments, decided=decided, replayed=replayed)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def _failed_tasks(events: Iterable[HistoryEvent]) -> list[str]:
    return [
        WorkflowTaskFailedCause.Name(event.workflow_task_failed_event_attributes.cause)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]


_ORDERS = """
    SELECT id::text AS id, customer_id, status, currency, total_amount, version, created_at, updated_at
    FROM orders
"""
_ITEMS = """
    SELECT order_id::text AS order_id, product_id, quantity, unit_price
    FROM order_items ORDER BY order_id, position
"""
_CHANGES = """
    SELECT order_id::text AS order_id, version, old_status, new_status, changed_at, changed_by, reason,
           command_id, on_behalf_of, request_id
    FROM order_status_history ORDER BY order_id, version
"""


async def read_rows(database_url: str) -> dict[str, Story]:
    """The story of every order as PostgreSQL tells it, by order id."""
    connection = await asyncpg.connect(database_url, ssl=False)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            orders, items, changes = [await connection.fetch(it) for it in (_ORDERS, _ITEMS, _CHANGES)]
    finally:
        await connection.close()
    stories: dict[str, Story] = {row["id"]: {**row, "items": [], "history": []} for row in orders}
    for part, rows in (("items", items), ("history", changes)):
        for row in rows:
            told = dict(row)
            stories[told.pop("order_id")][part].append(told)
    return stories
