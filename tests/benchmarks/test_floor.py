import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from benchmarks.floor import CHANGES, QUEUE, Floor, build_worker
from orders.status import OrderStatus
from tests.builders import NOON
from tests.processes import Run, servers_of, started
from tests.system import PATIENCE_SECONDS, System, eventually
from worker import Role, build_workers
from workflows.state import OrderInput


@asynccontextmanager
async def serving(system: System) -> AsyncIterator[Run]:
    """The floor's worker as a process."""
    environment = servers_of(system)
    del environment["DATABASE_URL"]
    async with started("-m", "benchmarks.floor", **environment) as worker:
        await worker.until_said("Serving floor")
        yield worker


def handle(system: System, workflow_id: str) -> WorkflowHandle[object, object]:
    return system.client.get_workflow_handle(workflow_id)


async def ids(system: System) -> set[str]:
    """Every workflow that Temporal lists, which it does a moment after it has started."""
    return {execution.id async for execution in system.client.list_workflows()}


async def status(system: System, workflow_id: str) -> WorkflowExecutionStatus | None:
    return (await handle(system, workflow_id).describe()).status


async def events(system: System, workflow_id: str) -> list[str]:
    """The kinds of events in the workflow's history, without the workflow tasks."""
    history = await handle(system, workflow_id).fetch_history()
    kinds = [EventType.Name(event.event_type) for event in history.events]
    return [kind.removeprefix("EVENT_TYPE_") for kind in kinds if "WORKFLOW_TASK" not in kind]


async def test_it_lives_through_three_changes_without_a_database(measured: System) -> None:
    floor = Floor(measured.client)
    async with serving(measured), asyncio.timeout(PATIENCE_SECONDS):
        workflow_id = await floor.create()
        for change in CHANGES:
            assert await status(measured, workflow_id) is WorkflowExecutionStatus.RUNNING
            await floor.change(workflow_id, change)
        await handle(measured, workflow_id).result()

    assert CHANGES == (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
    update = ["WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"]
    assert await events(measured, workflow_id) == [
        "WORKFLOW_EXECUTION_STARTED",
        *update * 4,
        "WORKFLOW_EXECUTION_COMPLETED",
    ]


async def test_it_starts_from_what_an_order_starts_from(measured: System) -> None:
    async with serving(measured), asyncio.timeout(PATIENCE_SECONDS):
        workflow_id = await Floor(measured.client).create()
    history = await handle(measured, workflow_id).fetch_history()

    start = history.events[0].workflow_execution_started_event_attributes
    (given,) = await measured.client.data_converter.decode(start.input.payloads, [OrderInput])
    order = given.state(NOON).record.order
    assert workflow_id == f"floor-{order.id}"
    assert [item.product_id for item in order.items] == ["laptop", "mouse"]
    assert set(start.search_attributes.indexed_fields) == {"CustomerId", "OrderStatus"}


@pytest.mark.parametrize(
    ("live", "message"),
    [(Floor.lifecycle, "UPDATE_COMPLETED"), (Floor.signalled_lifecycle, "SIGNALED")],
)
async def test_a_lifecycle_is_a_whole_one(
    measured: System, live: Callable[[Floor], Awaitable[None]], message: str
) -> None:
    before = await ids(measured)
    async with serving(measured), asyncio.timeout(PATIENCE_SECONDS):
        await live(Floor(measured.client))

    async def is_listed() -> bool:
        return bool(await ids(measured) - before)

    await eventually(is_listed)
    (workflow_id,) = await ids(measured) - before
    assert await status(measured, workflow_id) is WorkflowExecutionStatus.COMPLETED
    happened = await events(measured, workflow_id)
    assert sum(message in kind for kind in happened) == (4 if message == "UPDATE_COMPLETED" else 3)
    assert happened[-1] == "WORKFLOW_EXECUTION_COMPLETED"


async def test_a_lifecycle_by_signals_ends_with_its_workflow(measured: System) -> None:
    before = await ids(measured)
    life = asyncio.create_task(Floor(measured.client).signalled_lifecycle())

    async def is_told_everything() -> bool:
        told = [await events(measured, new) for new in await ids(measured) - before]
        return [kinds.count("WORKFLOW_EXECUTION_SIGNALED") for kinds in told] == [3]

    await eventually(is_told_everything)
    assert not life.done()
    async with serving(measured), asyncio.timeout(PATIENCE_SECONDS):
        await life


async def test_its_worker_is_configured_as_the_products(measured: System) -> None:
    settings = measured.settings.model_copy(
        update={"worker_cached_workflows": 123, "worker_shutdown_grace": 4.5}
    )
    (product,) = build_workers(measured.client, measured.engine, settings, Role.ORDERS)
    floor = build_worker(measured.client, settings)

    async with product, floor:
        options, expected = floor.config(), product.config()

    assert (options["task_queue"], options["max_cached_workflows"]) == (QUEUE, 123)
    # Each worker has a runner of its own.
    assert type(options.pop("workflow_runner")) is type(expected.pop("workflow_runner"))
    own = {"task_queue", "workflows", "activities"}
    assert {name for name, value in expected.items() if options.get(name) != value} == own


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_its_worker_leaves_when_it_is_asked_to(measured: System, number: signal.Signals) -> None:
    async with serving(measured) as worker:
        assert await worker.asked_to_stop(number) == 0
