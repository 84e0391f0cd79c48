import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from temporalio import activity
from temporalio.client import (
    ScheduleBackfill,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.promotion import FindPage
from database import queries
from database.queries import OrderFilter
from orders.names import PROMOTION_QUEUE, PROMOTION_SCHEDULE_ID
from orders.order import OrderRecord
from orders.signals import StatusSignal
from orders.status import OrderStatus
from schedule import declare
from tests.builders import a_place_order
from tests.conftest import Systems
from tests.system import System, eventually
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow, Sweep, SweepResult

PAGE_SIZE = 2


@pytest.fixture(scope="module")
async def quiet_system(systems: Systems) -> AsyncIterator[System]:
    """A system whose schedule never fires by itself, and whose pages are small."""
    quiet = {"promotion_interval": 86_400, "promotion_page_size": PAGE_SIZE, "promotion_concurrency": 2}
    async with systems("promotion") as made:
        system = replace(made, settings=made.settings.model_copy(update=quiet))
        async with system.workers():
            await declare(system.client, system.settings)
            yield system


async def place_orders(system: System, number: int) -> list[UUID]:
    commands = [a_place_order() for _ in range(number)]
    await asyncio.gather(*(system.dispatcher.place(command, wait=True) for command in commands))
    return [command.order_id for command in commands]


async def sweep(system: System, start: Sweep | None = None) -> SweepResult:
    return await system.client.execute_workflow(
        PromotionWorkflow.run, start or Sweep(), id=f"sweep-{uuid4()}", task_queue=PROMOTION_QUEUE
    )


async def until_promoted(system: System, ids: list[UUID]) -> None:
    async def nothing_is_pending() -> bool:
        pending = OrderFilter(statuses=(OrderStatus.PENDING,))
        return not {order.id for order in await queries.list_orders(system.engine, pending, limit=1000)} & {
            *ids
        }

    await eventually(nothing_is_pending)


async def record(system: System, order_id: UUID) -> OrderRecord:
    return (await system.handle(order_id).query(OrderWorkflow.order)).record


async def test_a_sweep_promotes_every_pending_order_once(quiet_system: System) -> None:
    ids = await place_orders(quiet_system, 2 * PAGE_SIZE + 1)

    result = await sweep(quiet_system)
    await until_promoted(quiet_system, ids)

    assert result.signalled == len(ids)
    for order_id in ids:
        history = (await record(quiet_system, order_id)).history
        assert [(change.new_status, change.changed_by) for change in history] == [
            (OrderStatus.PENDING, "api"),
            (OrderStatus.PROCESSING, "promotion"),
        ]


async def test_a_sweep_leaves_orders_placed_after_its_time(quiet_system: System) -> None:
    [order_id] = await place_orders(quiet_system, 1)
    placed = (await record(quiet_system, order_id)).order.created_at

    result = await sweep(quiet_system, Sweep(placed_before=placed))

    assert result.signalled == 0
    assert (await record(quiet_system, order_id)).order.status is OrderStatus.PENDING
    await sweep(quiet_system)


async def test_a_sweep_passes_over_what_is_cancelled_or_already_on_its_way(quiet_system: System) -> None:
    cancelled, shipped, pending = await place_orders(quiet_system, 3)
    await quiet_system.handle(cancelled).signal("cancel")
    for status in ("PROCESSING", "SHIPPED"):
        await quiet_system.handle(shipped).signal(OrderWorkflow.update_status, StatusSignal(status=status))
    await quiet_system.handle(cancelled).result()

    await sweep(quiet_system)
    await until_promoted(quiet_system, [pending])

    statuses = [(await record(quiet_system, it)).order.status for it in (cancelled, shipped, pending)]
    assert statuses == [OrderStatus.CANCELLED, OrderStatus.SHIPPED, OrderStatus.PROCESSING]


async def test_any_number_of_triggers_and_a_backfill_promote_each_order_once(quiet_system: System) -> None:
    schedule = quiet_system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID)
    ids = await place_orders(quiet_system, 2 * PAGE_SIZE)
    now = datetime.now(UTC)

    # One after the other: the server loses a backfill that arrives together with triggers.
    await schedule.backfill(
        ScheduleBackfill(
            start_at=now - timedelta(days=3), end_at=now, overlap=ScheduleOverlapPolicy.ALLOW_ALL
        )
    )
    await eventually(lambda: has_swept(schedule, times=3))
    # Triggers of the same second are one sweep: Temporal names a sweep after its second.
    await asyncio.gather(*(schedule.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL) for _ in range(10)))
    await eventually(lambda: has_swept(schedule, times=4))
    await sweep(quiet_system)
    await until_promoted(quiet_system, ids)

    for order_id in ids:
        state = await quiet_system.handle(order_id).query(OrderWorkflow.order)
        assert [change.new_status for change in state.record.history] == ["PENDING", "PROCESSING"]
        assert state.rejections == ()


async def has_swept(schedule: ScheduleHandle, times: int) -> bool:
    """Whether the schedule has started so many sweeps, and all of them have ended."""
    info = (await schedule.describe()).info
    return info.num_actions >= times and not info.running_actions


async def test_a_sweep_goes_on_where_the_run_before_it_stopped(quiet_system: System) -> None:
    ids = await place_orders(quiet_system, 30 * PAGE_SIZE)

    result = await sweep(quiet_system)
    await until_promoted(quiet_system, ids)

    runs = [
        execution
        async for execution in quiet_system.client.list_workflows(
            "WorkflowType = 'PromotionWorkflow' AND ExecutionStatus = 'ContinuedAsNew'"
        )
    ]
    assert result.signalled == len(ids)
    assert runs


@given(number=st.integers(1, 4), sweeps=st.integers(1, 4), at_once=st.booleans(), cancelled=st.integers(0, 1))
@hypothesis_settings(max_examples=8)
async def test_promoting_any_number_of_times_is_promoting_once(
    quiet_system: System, number: int, sweeps: int, cancelled: int, *, at_once: bool
) -> None:
    ids = await place_orders(quiet_system, number)
    for order_id in ids[:cancelled]:
        await quiet_system.handle(order_id).signal("cancel")

    if at_once:
        await asyncio.gather(*(sweep(quiet_system) for _ in range(sweeps)))
    else:
        for _ in range(sweeps):
            await sweep(quiet_system)
    await until_promoted(quiet_system, ids)

    for position, order_id in enumerate(ids):
        expected = OrderStatus.CANCELLED if position < cancelled else OrderStatus.PROCESSING
        history = (await record(quiet_system, order_id)).history
        assert [change.new_status for change in history] == [OrderStatus.PENDING, expected]


async def test_ten_concurrent_sweeps_agree(quiet_system: System) -> None:
    ids = await place_orders(quiet_system, PAGE_SIZE + 1)

    await asyncio.gather(*(sweep(quiet_system) for _ in range(10)))
    await until_promoted(quiet_system, ids)

    for order_id in ids:
        assert (await record(quiet_system, order_id)).order.version == 2


@pytest.fixture(scope="module")
async def broken_system(systems: Systems) -> AsyncIterator[System]:
    """A system whose promotion cannot find its pages; the activities are chosen by each test."""
    async with systems("broken") as system:
        yield system


async def start_with(system: System, find_page: Callable[..., Awaitable[None]]) -> WorkflowHandle[Any, Any]:
    return await system.client.start_workflow(
        PromotionWorkflow.run, Sweep(), id=f"sweep-{uuid4()}", task_queue=find_page.__name__
    )


async def test_a_sweep_that_finds_no_page_fails_and_makes_room_for_the_next(broken_system: System) -> None:
    @activity.defn(name="find_page")
    async def failing(_: FindPage) -> None:
        raise ApplicationError("no database", non_retryable=True)

    async with Worker(
        broken_system.client, task_queue="failing", workflows=[PromotionWorkflow], activities=[failing]
    ):
        handle = await start_with(broken_system, failing)
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED


async def test_a_cancelled_sweep_ends(broken_system: System) -> None:
    begun = asyncio.Event()

    @activity.defn(name="find_page")
    async def waiting(_: FindPage) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Worker(
        broken_system.client, task_queue="waiting", workflows=[PromotionWorkflow], activities=[waiting]
    ):
        handle = await start_with(broken_system, waiting)
        await begun.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
