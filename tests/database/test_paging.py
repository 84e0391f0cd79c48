"""Walking a list while orders are placed and moved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from database.engine import create_engine
from database.projection import project
from database.queries import OrderFilter, UnknownKey, list_numbered, list_orders
from orders.order import Order, OrderKey, OrderRecord
from orders.status import OrderStatus
from settings import Settings
from tests.builders import NOON, a_place_order, a_record
from tests.system import a_customer

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

both_directions = pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])


def key_of(order: Order) -> OrderKey:
    return OrderKey(created_at=order.created_at, order_id=order.id)


async def place(engine: AsyncEngine, customer_id: str, placed_at: datetime) -> OrderKey:
    record = a_record(placing=a_place_order(customer_id=customer_id), placed_at=placed_at)
    await project(engine, record)
    return key_of(record.order)


def check_walk(met: list[OrderKey], *, newest_first: bool) -> None:
    """Fail where a walk is out of order, or meets an order twice."""
    assert met == sorted(met, key=lambda key: (key.created_at, key.order_id), reverse=newest_first)
    assert len(met) == len(set(met))


@both_directions
@pytest.mark.parametrize("late", [-1, 3, 30], ids=["at the oldest end", "in the middle", "at the newest end"])
async def test_a_walk_by_cursor_meets_every_order_once_while_others_are_placed(
    engine: AsyncEngine, late: int, *, newest_first: bool
) -> None:
    customer = a_customer()
    wanted = OrderFilter(customer_id=customer)
    placed = [await place(engine, customer, NOON + timedelta(minutes=number // 2)) for number in range(12)]

    met: list[OrderKey] = []
    for _ in range(len(placed)):
        page = await list_orders(
            engine, wanted, limit=5, after=met[-1] if met else None, newest_first=newest_first
        )
        met += [key_of(order) for order in page]
        if len(met) < len(placed):
            await place(engine, customer, NOON + timedelta(minutes=late))

    check_walk(met, newest_first=newest_first)
    assert set(placed) <= set(met)


async def walk(engine: AsyncEngine, wanted: OrderFilter, *, newest_first: bool) -> list[OrderKey]:
    """The keys of the whole list, by cursor, seven at a time."""
    met: list[OrderKey] = []
    for _ in range(1_000):
        page = await list_orders(
            engine, wanted, limit=7, after=met[-1] if met else None, newest_first=newest_first
        )
        if not page:
            return met
        met += [key_of(order) for order in page]
    raise AssertionError("the list has no end")


MOMENTS = [NOON + timedelta(microseconds=number) for number in range(3)]


@asynccontextmanager
async def a_busy_shop(engine: AsyncEngine, placed: list[OrderRecord]) -> AsyncIterator[None]:
    """While the block runs, every order goes through its life, and others arrive at the same moments."""

    async def move() -> None:
        for path in ((PROCESSING,), (PROCESSING, SHIPPED), (PROCESSING, SHIPPED, DELIVERED)):
            for record in placed:
                order = record.order
                placing = a_place_order(order_id=order.id, customer_id=order.customer_id)
                await project(engine, a_record(*path, placing=placing, placed_at=order.created_at))

    async def arrive() -> None:
        for placed_at in cycle(MOMENTS):
            await place(engine, placed[0].order.customer_id, placed_at)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(move()), asyncio.create_task(arrive())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@both_directions
@pytest.mark.parametrize("spanned", [True, False], ids=["of a span of time", "of all times"])
@pytest.mark.parametrize("statuses", [(), tuple(OrderStatus)], ids=["of any status", "of every status"])
async def test_no_order_is_skipped_or_repeated_while_many_of_one_moment_arrive_and_move(
    engine: AsyncEngine, *, statuses: tuple[OrderStatus, ...], spanned: bool, newest_first: bool
) -> None:
    customer = a_customer()
    placed = [
        a_record(placing=a_place_order(customer_id=customer), placed_at=placed_at)
        for placed_at in MOMENTS * 20
    ]
    for record in placed:
        await project(engine, record)
    wanted = OrderFilter(
        statuses=statuses,
        customer_id=customer,
        created_after=MOMENTS[1] if spanned else None,
        created_before=MOMENTS[2] if spanned else None,
    )

    there_from_the_start = {
        key_of(record.order) for record in placed if not spanned or record.order.created_at == MOMENTS[1]
    }
    async with a_busy_shop(engine, placed):
        walks = 0
        met: list[OrderKey] = []
        # Until the list has changed, too.
        while walks < 5 or len(met) == len(there_from_the_start):
            met = await walk(engine, wanted, newest_first=newest_first)
            walks += 1

            check_walk(met, newest_first=newest_first)
            assert there_from_the_start <= set(met)


@both_directions
async def test_a_list_goes_on_only_after_an_order_that_there_is(
    engine: AsyncEngine, *, newest_first: bool
) -> None:
    customer = a_customer()
    first = await place(engine, customer, NOON)
    await place(engine, customer, NOON)
    later = await place(engine, customer, NOON + timedelta(microseconds=1))

    for invented in (
        replace(first, order_id=uuid4()),
        replace(first, created_at=NOON - timedelta(microseconds=1)),
        replace(first, created_at=later.created_at),
    ):
        with pytest.raises(UnknownKey):
            await list_orders(engine, OrderFilter(), limit=1, after=invented, newest_first=newest_first)


async def test_a_numbered_page_and_its_total_are_of_one_moment(
    engine: AsyncEngine, settings: Settings
) -> None:
    customer = a_customer()
    before = [await place(engine, customer, NOON) for _ in range(2)]
    elsewhere = create_engine(settings, application_name="tests-elsewhere")

    def arrive(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:  # noqa: ANN401
        if "count(" in statement:
            await_only(place(elsewhere, customer, NOON))

    event.listen(engine.sync_engine, "after_cursor_execute", arrive)
    try:
        page, total = await list_numbered(engine, OrderFilter(customer_id=customer), limit=10, offset=0)
    finally:
        event.remove(engine.sync_engine, "after_cursor_execute", arrive)
        await elsewhere.dispose()

    assert {key_of(order) for order in page} == set(before)
    assert total == len(before)
    assert len(await list_orders(engine, OrderFilter(customer_id=customer), limit=10)) == len(before) + 1
