import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from database.projection import PlacedBefore, project
from database.queries import get_order, get_record
from database.tables import order_items, order_status_history, orders
from orders import lifecycle
from orders.commands import PlaceOrder
from orders.order import OrderRecord
from orders.status import OrderStatus
from tests.builders import NOON, a_change, a_place_order, a_record, an_item
from tests.orders.strategies import identifiers, place_orders, reasons, times

_, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

# An order that was decided twice, because a crash undid the first decision.
RETOLD = UUID("0198f2a4-0000-7000-8000-000000000002")

TABLES = (
    (orders, orders.c.id),
    (order_items, order_items.c.order_id),
    (order_status_history, order_status_history.c.order_id),
)


async def rows_of(engine: AsyncEngine, order_id: UUID) -> list[tuple[Any, ...]]:
    """All that the three tables have of an order."""
    found: list[tuple[Any, ...]] = []
    async with engine.connect() as connection:
        for table, key in TABLES:
            rows = await connection.execute(select(table).where(key == order_id).order_by(table.c.id))
            found += [tuple(row) for row in rows]
    return found


async def forget(engine: AsyncEngine, order_id: UUID) -> None:
    async with engine.connect() as connection:
        for table, key in reversed(TABLES):
            await connection.execute(delete(table).where(key == order_id))


def versions_of(record: OrderRecord) -> list[OrderRecord]:
    """The record as it was at each of its versions."""
    return [
        OrderRecord(order=lifecycle.at(record, version), history=record.history[:version])
        for version in range(1, record.order.version + 1)
    ]


def with_unstorable_history(record: OrderRecord) -> OrderRecord:
    """A record that fails after its order and its items have been written: PostgreSQL refuses NUL."""
    *before, last = record.history
    return replace(record, history=(*before, replace(last, changed_by="\0")))


async def test_the_tables_have_the_columns_that_queries_by_hand_expect(engine: AsyncEngine) -> None:
    record = a_record(CANCELLED)

    await project(engine, record)

    async with engine.connect() as connection:
        run = connection.exec_driver_sql
        key = (str(record.order.id),)
        [order] = await run("SELECT customer_id, status, total_amount::text FROM orders WHERE id = $1", key)
        items = await run(
            "SELECT product_id, quantity, unit_price::text FROM order_items WHERE order_id = $1"
            " ORDER BY position",
            key,
        )
        history = await run(
            "SELECT old_status, new_status, changed_by FROM order_status_history WHERE order_id = $1"
            " ORDER BY version",
            key,
        )
        assert tuple(order) == ("customer_123", "CANCELLED", "1050.99")
        assert [tuple(row) for row in items] == [("laptop", 1, "999.99"), ("mouse", 2, "25.50")]
        assert [tuple(row) for row in history] == [
            (None, "PENDING", "api"),
            ("PENDING", "CANCELLED", "warehouse"),
        ]


async def test_a_repeated_projection_changes_nothing(engine: AsyncEngine) -> None:
    record = a_record(PROCESSING)
    await project(engine, record)
    once = await rows_of(engine, record.order.id)

    await project(engine, record)

    assert once == await rows_of(engine, record.order.id)


@pytest.mark.parametrize("sequence", list(permutations((1, 2, 3, 4))), ids=str)
async def test_in_whichever_order_versions_arrive_and_however_often_the_tables_are_the_same(
    engine: AsyncEngine, sequence: tuple[int, ...]
) -> None:
    versions = versions_of(a_record(PROCESSING, SHIPPED, DELIVERED))
    order_id = versions[0].order.id
    await project(engine, versions[-1])
    expected = await rows_of(engine, order_id)
    await forget(engine, order_id)

    newest = 0
    for version in (*sequence, *sequence):
        await project(engine, versions[version - 1])
        newest = max(newest, version)
        assert versions[newest - 1] == await get_record(engine, order_id)

    assert expected == await rows_of(engine, order_id)


def decided_at(time: datetime) -> OrderRecord:
    """The same order and the same command, decided at a time."""
    record = a_record(placing=a_place_order(order_id=RETOLD))
    command = a_change(PROCESSING, command_id="the same")
    return lifecycle.apply(record, lifecycle.decide(record, command, time))


@pytest.mark.parametrize("sequence", [(1, 2), (2, 1), (1, 2, 1), (2, 1, 2)], ids=str)
async def test_of_a_decision_made_twice_the_later_time_is_kept(
    engine: AsyncEngine, sequence: tuple[int, ...]
) -> None:
    await forget(engine, RETOLD)

    for hours in sequence:
        await project(engine, decided_at(NOON + timedelta(hours=hours)))

    assert decided_at(NOON + timedelta(hours=2)) == await get_record(engine, RETOLD)


async def test_an_order_that_is_placed_again_later_leaves_the_first_as_it_was(engine: AsyncEngine) -> None:
    first = a_record(PROCESSING, SHIPPED, DELIVERED)
    order = first.order
    await project(engine, first)
    stored = await rows_of(engine, order.id)
    placing = a_place_order(order_id=order.id, customer_id=order.customer_id)
    second = a_record(placing=placing, placed_at=NOON + timedelta(days=30))

    with pytest.raises(PlacedBefore, match="this is a second life"):
        await project(engine, second)

    assert await rows_of(engine, order.id) == stored


async def test_a_first_projection_that_fails_half_way_leaves_nothing(engine: AsyncEngine) -> None:
    record = a_record()

    with pytest.raises(DBAPIError):
        await project(engine, with_unstorable_history(record))

    assert await rows_of(engine, record.order.id) == []


async def test_a_failure_does_not_tell_what_was_to_be_stored(engine: AsyncEngine) -> None:
    record = a_record()

    with pytest.raises(DBAPIError) as failure:
        await project(engine, with_unstorable_history(record))

    assert str(record.order.id) not in str(failure.value)


async def test_a_later_projection_that_fails_half_way_leaves_the_order_as_it_was(engine: AsyncEngine) -> None:
    first, second = versions_of(a_record(PROCESSING))
    await project(engine, first)
    before = await rows_of(engine, first.order.id)

    with pytest.raises(DBAPIError):
        await project(engine, with_unstorable_history(second))

    assert before == await rows_of(engine, first.order.id)


async def test_a_record_read_while_a_change_lands_does_not_run_ahead_of_its_order(
    engine: AsyncEngine,
) -> None:
    first, second = versions_of(a_record(PROCESSING))
    await project(engine, second)
    async with engine.connect() as connection:
        await connection.execute(
            update(orders)
            .where(orders.c.id == first.order.id)
            .values(status="PENDING", version=1, updated_at=first.order.updated_at)
        )

    assert first == await get_record(engine, first.order.id)


async def test_projections_of_the_same_order_at_once_agree(engine: AsyncEngine) -> None:
    records = [a_record(PROCESSING, SHIPPED, DELIVERED) for _ in range(5)]
    rivals = [version for record in records for version in versions_of(record)]

    await asyncio.gather(*(project(engine, rival) for rival in [*rivals, *reversed(rivals)]))

    for record in records:
        at_once = await rows_of(engine, record.order.id)
        await forget(engine, record.order.id)
        await project(engine, record)
        assert await rows_of(engine, record.order.id) == at_once


@pytest.mark.parametrize(
    ("total", "unit_price", "currency"),
    [
        ("3000", "1500", "JPY"),
        ("20000000", "10000000", "JPY"),
        ("3.00", "1.50", "USD"),
        ("3.002", "1.501", "KWD"),
        ("3.0002", "1.5001", "CLF"),
    ],
)
async def test_money_keeps_exactly_its_currencys_decimals(
    engine: AsyncEngine, total: str, unit_price: str, currency: str
) -> None:
    record = a_record(placing=a_place_order(an_item(unit_price, 2), currency=currency))

    await project(engine, record)

    order = await get_order(engine, record.order.id)
    assert order is not None
    assert (total, unit_price) == (str(order.total_amount), str(order.items[0].unit_price))


async def test_times_keep_their_microseconds_and_are_utc(engine: AsyncEngine) -> None:
    placed_at = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=UTC)
    record = a_record(placed_at=placed_at)

    await project(engine, record)

    order = await get_order(engine, record.order.id)
    assert order is not None
    assert order.created_at.isoformat() == "2026-03-29T01:59:59.999999+00:00"


def carried_out(
    command: PlaceOrder, path: Iterable[OrderStatus], by: str, reason: str | None, now: datetime
) -> OrderRecord:
    record = lifecycle.place(command, now)
    for status in path:
        change = a_change(status, changed_by=by, reason=reason)
        record = lifecycle.apply(record, lifecycle.decide(record, change, now))
    return record


records = st.builds(
    carried_out,
    place_orders(),
    st.sampled_from([(), (CANCELLED,), (PROCESSING,), (PROCESSING, SHIPPED, DELIVERED)]),
    identifiers,
    reasons,
    times,
)


# A created order is retrieved identically: here, by the database.
@given(records)
async def test_an_order_is_read_back_exactly_as_it_was_projected(
    engine: AsyncEngine, record: OrderRecord
) -> None:
    await forget(engine, record.order.id)

    await project(engine, record)

    # Compared as text too, because decimals are equal whatever their number of zeros.
    assert record == (read := await get_record(engine, record.order.id))
    assert repr(record) == repr(read)
