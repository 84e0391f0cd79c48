"""A catalogue of orders, and what the queries find in it against what a plain comprehension does."""

from datetime import timedelta
from itertools import chain, product
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from database.projection import project
from database.queries import (
    OrderFilter,
    get_history,
    get_order,
    get_record,
    list_numbered,
    list_orders,
    list_pending_keys,
)
from orders.order import Order, OrderKey, OrderRecord
from orders.status import OrderStatus
from tests.builders import NOON, a_place_order, a_record

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus


def key_of(order: Order) -> OrderKey:
    return OrderKey(created_at=order.created_at, order_id=order.id)


def minute(number: int) -> timedelta:
    return timedelta(minutes=number)


# Two customers, every status, and each time shared by two orders, so that ids decide between them.
CATALOGUE = sorted(
    (
        a_record(*path, placing=a_place_order(customer_id=customer), placed_at=NOON + minute(number // 2))
        for number, (path, customer) in enumerate(
            product(
                [
                    (),
                    (CANCELLED,),
                    (),
                    (PROCESSING,),
                    (PROCESSING, SHIPPED),
                    (PROCESSING, SHIPPED, DELIVERED),
                ],
                ["ann", "bob"],
            )
        )
    ),
    key=lambda record: (record.order.created_at, record.order.id),
)
OLDEST_FIRST = [record.order for record in CATALOGUE]


@pytest.fixture(scope="module", autouse=True)
async def catalogue(engine: AsyncEngine) -> None:
    for record in CATALOGUE:
        await project(engine, record)


FILTERS = {
    "everything": OrderFilter(),
    "one status": OrderFilter(statuses=(PENDING,)),
    "two statuses": OrderFilter(statuses=(SHIPPED, CANCELLED)),
    "a customer": OrderFilter(customer_id="ann"),
    "a customer's status": OrderFilter(customer_id="bob", statuses=(PENDING,)),
    "after": OrderFilter(created_after=NOON + minute(2)),
    "before": OrderFilter(created_before=NOON + minute(2)),
    "between": OrderFilter(created_after=NOON + minute(1), created_before=NOON + minute(4)),
    "all at once": OrderFilter(
        statuses=(PENDING, PROCESSING),
        customer_id="ann",
        created_after=NOON + minute(1),
        created_before=NOON + minute(5),
    ),
    "nobody": OrderFilter(customer_id="nobody"),
}
each_filter = pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
both_directions = pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])


def expected(wanted: OrderFilter, *, newest_first: bool = False) -> list[Order]:
    """The orders that the filter describes, sought the slow way."""
    found = [
        order
        for order in OLDEST_FIRST
        if (not wanted.statuses or order.status in wanted.statuses)
        and wanted.customer_id in {None, order.customer_id}
        and (wanted.created_after is None or order.created_at >= wanted.created_after)
        and (wanted.created_before is None or order.created_at < wanted.created_before)
    ]
    return found[::-1] if newest_first else found


@pytest.mark.parametrize("record", CATALOGUE, ids=lambda record: record.order.status)
async def test_an_order_is_found_with_its_items_and_its_history(
    engine: AsyncEngine, record: OrderRecord
) -> None:
    assert record.order == await get_order(engine, record.order.id)
    assert record.history == await get_history(engine, record.order.id)
    assert record == await get_record(engine, record.order.id)


async def test_an_order_that_is_not_there_is_not_found(engine: AsyncEngine) -> None:
    assert await get_order(engine, uuid4()) is None
    assert await get_record(engine, uuid4()) is None
    assert await get_history(engine, uuid4()) == ()


@both_directions
@each_filter
async def test_a_list_has_the_orders_that_its_filter_describes_and_no_other(
    engine: AsyncEngine, wanted: OrderFilter, *, newest_first: bool
) -> None:
    found = await list_orders(engine, wanted, limit=100, newest_first=newest_first)

    assert expected(wanted, newest_first=newest_first) == found


async def test_a_list_is_newest_first_unless_it_is_told_otherwise(engine: AsyncEngine) -> None:
    assert OLDEST_FIRST[::-1] == await list_orders(engine, OrderFilter(), limit=100)


@both_directions
@each_filter
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_pages_by_cursor_are_the_list_cut_into_pieces(
    engine: AsyncEngine, wanted: OrderFilter, size: int, *, newest_first: bool
) -> None:
    pages: list[list[Order]] = []
    after: OrderKey | None = None
    for _ in OLDEST_FIRST:
        page = await list_orders(engine, wanted, limit=size, after=after, newest_first=newest_first)
        if not page:
            break
        pages.append(page)
        after = key_of(page[-1])

    assert expected(wanted, newest_first=newest_first) == list(chain(*pages))
    assert all(len(page) == size for page in pages[:-1])


@both_directions
@each_filter
async def test_pages_by_number_are_the_list_cut_into_pieces(
    engine: AsyncEngine, wanted: OrderFilter, *, newest_first: bool
) -> None:
    everything = expected(wanted, newest_first=newest_first)

    for offset in range(0, len(OLDEST_FIRST) + 5, 5):
        page, total = await list_numbered(engine, wanted, limit=5, offset=offset, newest_first=newest_first)

        assert everything[offset : offset + 5] == page
        assert len(everything) == total


PENDING_KEYS = [key_of(order) for order in OLDEST_FIRST if order.status == "PENDING"]
FOREVER = NOON + timedelta(days=1)


async def test_the_keys_of_pending_orders_come_oldest_first(engine: AsyncEngine) -> None:
    assert await list_pending_keys(engine, placed_before=FOREVER) == PENDING_KEYS


async def test_pending_keys_stop_before_a_time(engine: AsyncEngine) -> None:
    time = PENDING_KEYS[-1].created_at

    keys = await list_pending_keys(engine, placed_before=time)

    assert [key for key in PENDING_KEYS if key.created_at < time] == keys != []


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_no_more_pending_keys_come_than_are_asked_for(engine: AsyncEngine, limit: int) -> None:
    assert PENDING_KEYS[:limit] == await list_pending_keys(engine, placed_before=FOREVER, limit=limit)


@pytest.mark.parametrize(("after", "until"), [(0, 1), (0, 2), (1, 3), (2, 2), (3, 0)])
async def test_a_range_of_pending_keys_leaves_out_its_start_and_has_its_end(
    engine: AsyncEngine, after: int, until: int
) -> None:
    keys = await list_pending_keys(
        engine, placed_before=FOREVER, after=PENDING_KEYS[after], until=PENDING_KEYS[until]
    )

    assert PENDING_KEYS[after + 1 : until + 1] == keys
