import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.promotion import FindPage, Page, PromotionActivities
from database.engine import create_engine
from database.projection import project
from embedded.child import free_port
from orders.names import ORDERS_QUEUE, promotion_command_id, workflow_id
from orders.order import OrderKey
from orders.signals import StatusSignal
from orders.status import OrderStatus
from tests.builders import NOON, a_place_order, a_record
from tests.conftest import settings_for
from tests.system import System, eventually
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

LATER = NOON + timedelta(days=1)


def promotion(
    system: System, *, page_size: int = 100, concurrency: int = 2, patience: float = 0.0
) -> PromotionActivities:
    return PromotionActivities(
        engine=system.engine,
        client=system.client,
        page_size=page_size,
        concurrency=concurrency,
        patience=patience,
    )


def an_attempt(
    *, after: tuple[str | int, ...] = (), lasting: int | None = None
) -> tuple[ActivityEnvironment, list[tuple[str | int, ...]]]:
    """An attempt that resumes after a heartbeat or is cancelled at one, and the heartbeats it makes."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_details=after)
    heartbeats: list[tuple[str | int, ...]] = []

    def note(*details: str | int) -> None:
        heartbeats.append(details)
        if len(heartbeats) == lasting:
            environment.cancel()

    environment.on_heartbeat = note
    return environment, heartbeats


async def project_orders(system: System, count: int, *moves: OrderStatus) -> list[OrderKey]:
    """Orders of one status, a minute apart, in PostgreSQL alone."""
    records = [a_record(*moves, placed_at=NOON + timedelta(minutes=minute)) for minute in range(count)]
    for record in records:
        await project(system.engine, record)
    return [OrderKey(created_at=record.order.created_at, order_id=record.order.id) for record in records]


async def project_as_processing(system: System, key: OrderKey) -> None:
    placing = a_place_order(order_id=key.order_id)
    record = a_record(OrderStatus.PROCESSING, placing=placing, placed_at=key.created_at)
    await project(system.engine, record)


async def start(system: System, keys: Sequence[OrderKey]) -> None:
    """Start the orders' workflows, as far as that goes without a worker."""
    for key in keys:
        await system.client.start_workflow(
            OrderWorkflow.run,
            OrderInput(place=a_place_order(order_id=key.order_id)),
            id=workflow_id(key.order_id),
            task_queue=ORDERS_QUEUE,
        )


async def place(system: System, count: int) -> list[OrderKey]:
    """PENDING orders with their workflows."""
    keys = await project_orders(system, count)
    await start(system, keys)
    return keys


async def signals_of(system: System, key: OrderKey) -> list[StatusSignal]:
    """Every signal that the order's workflow has received."""
    history = await system.handle(key.order_id).fetch_history()
    received = [
        event.workflow_execution_signaled_event_attributes.input.payloads
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    return [
        signal
        for payloads in received
        for signal in await system.client.data_converter.decode(payloads, [StatusSignal])
    ]


async def signal_counts(system: System, keys: Sequence[OrderKey]) -> list[int]:
    return [len(await signals_of(system, key)) for key in keys]


def whole(keys: Sequence[OrderKey]) -> Page:
    """One page with all of the orders."""
    return Page(placed_before=LATER, after=None, until=keys[-1])


async def test_pages_are_the_pending_orders_oldest_first_cut_into_pieces(idle: System) -> None:
    keys = await project_orders(idle, 5)
    await project_orders(idle, 3, OrderStatus.PROCESSING)
    activities = promotion(idle, page_size=2)

    pages: list[Page] = []
    after = None
    while page := await ActivityEnvironment().run(
        activities.find_page, FindPage(placed_before=LATER, after=after)
    ):
        pages.append(page)
        after = page.until

    assert [keys[1], keys[3], keys[4]] == [page.until for page in pages]
    assert [None, keys[1], keys[3]] == [page.after for page in pages]


async def test_there_is_no_page_where_no_order_is_pending(idle: System) -> None:
    await project_orders(idle, 2, OrderStatus.CANCELLED)

    page = await ActivityEnvironment().run(promotion(idle).find_page, FindPage(placed_before=LATER))

    assert page is None


async def test_an_order_placed_at_the_time_of_the_sweep_waits_for_the_next(idle: System) -> None:
    keys = await project_orders(idle, 2)

    page = await ActivityEnvironment().run(
        promotion(idle).find_page, FindPage(placed_before=keys[1].created_at)
    )

    assert page is not None
    assert keys[0] == page.until


async def test_every_pending_order_of_a_page_is_told_to_go_on(idle: System) -> None:
    keys = await place(idle, 3)

    before = datetime.now(UTC)
    signalled = await ActivityEnvironment().run(promotion(idle).promote_page, whole(keys))

    assert signalled == 3
    for key in keys:
        [signal] = await signals_of(idle, key)
        assert signal.sent_at is not None
        assert before <= signal.sent_at <= datetime.now(UTC)
        assert signal == StatusSignal(
            status="PROCESSING",
            command_id=promotion_command_id(key.order_id),
            changed_by="promotion",
            sent_at=signal.sent_at,
        )


async def test_a_batch_is_signalled_when_half_of_the_one_before_has_moved(idle: System) -> None:
    keys = await place(idle, 8)
    patient = promotion(idle, concurrency=4, patience=60)

    promoting = asyncio.create_task(ActivityEnvironment().run(patient.promote_page, whole(keys)))
    await eventually(partial(have_signals, idle, keys[:4]))
    await project_as_processing(idle, keys[0])
    # Long enough for the next batch, were it not held back.
    await asyncio.sleep(0.3)
    assert await signal_counts(idle, keys) == [1] * 4 + [0] * 4

    await project_as_processing(idle, keys[1])
    await eventually(partial(have_signals, idle, keys))
    for key in keys[4:6]:
        await project_as_processing(idle, key)
    assert await promoting == 8


async def have_signals(system: System, keys: Sequence[OrderKey]) -> bool:
    return await signal_counts(system, keys) == [1] * len(keys)


async def test_orders_outside_the_page_are_left_alone(idle: System) -> None:
    keys = await place(idle, 4)
    page = Page(placed_before=LATER, after=keys[0], until=keys[2])

    signalled = await ActivityEnvironment().run(promotion(idle).promote_page, page)

    assert signalled == 2
    assert await signal_counts(idle, keys) == [0, 1, 1, 0]


async def test_a_page_repeated_signals_only_the_orders_that_are_still_pending(idle: System) -> None:
    keys = await place(idle, 3)
    await ActivityEnvironment().run(promotion(idle).promote_page, whole(keys))
    await project_as_processing(idle, keys[1])

    again = await ActivityEnvironment().run(promotion(idle).promote_page, whole(keys))

    assert again == 2
    assert await signal_counts(idle, keys) == [2, 1, 2]


async def test_an_order_whose_workflow_has_ended_is_passed_over(idle: System) -> None:
    keys = await place(idle, 3)
    await idle.handle(keys[0].order_id).terminate()

    signalled = await ActivityEnvironment().run(promotion(idle).promote_page, whole(keys))

    assert signalled == 2
    assert await signal_counts(idle, keys) == [0, 1, 1]


async def test_an_order_without_a_workflow_is_passed_over(idle: System) -> None:
    keys = await project_orders(idle, 3)
    await start(idle, keys[1:])

    assert await ActivityEnvironment().run(promotion(idle).promote_page, whole(keys)) == 2


async def test_a_heartbeat_after_each_batch_says_which_order_was_its_last(idle: System) -> None:
    keys = await place(idle, 5)
    environment, heartbeats = an_attempt()

    await environment.run(promotion(idle, concurrency=2).promote_page, whole(keys))

    last_ones = [(keys[1], 2), (keys[3], 4), (keys[4], 5)]
    expected = [(key.created_at.isoformat(), str(key.order_id), signalled) for key, signalled in last_ones]
    assert expected == heartbeats


async def test_a_retry_goes_on_after_the_last_heartbeat_and_signals_only_what_is_left(idle: System) -> None:
    keys = await place(idle, 5)
    activities = promotion(idle, concurrency=2)
    first, heartbeats = an_attempt(lasting=1)
    with pytest.raises(asyncio.CancelledError):
        await first.run(activities.promote_page, whole(keys))
    assert await signal_counts(idle, keys) == [1, 1, 0, 0, 0]

    retry, _ = an_attempt(after=heartbeats[-1])
    signalled = await retry.run(activities.promote_page, whole(keys))

    assert signalled == 5
    assert await signal_counts(idle, keys) == [1, 1, 1, 1, 1]


async def test_a_retry_after_the_last_order_has_nothing_left_to_do(idle: System) -> None:
    keys = await place(idle, 2)
    activities = promotion(idle)
    first, heartbeats = an_attempt()
    await first.run(activities.promote_page, whole(keys))

    retry, _ = an_attempt(after=heartbeats[-1])

    assert await retry.run(activities.promote_page, whole(keys)) == 2
    assert await signal_counts(idle, keys) == [1, 1]


async def test_a_database_that_is_away_is_one_line_in_the_web_ui(system: System) -> None:
    settings = settings_for(f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")
    away = replace(promotion(system), engine=create_engine(settings, application_name="tests-away"))
    stretch = Page(placed_before=LATER, after=None, until=OrderKey(created_at=NOON, order_id=uuid4()))

    for look in (away.find_page, FindPage(placed_before=LATER)), (away.promote_page, stretch):
        with pytest.raises(ApplicationError, match=r"^DatabaseUnavailable: PostgreSQL is .*$") as failure:
            await an_attempt()[0].run(*look)
        assert failure.value.__cause__ is None
