"""Walking a list while orders are placed."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from database.projection import project
from database.queries import OrderFilter, list_orders
from orders.order import OrderKey
from tests.builders import NOON, a_place_order, a_record
from tests.system import a_customer


async def place(engine: AsyncEngine, customer_id: str, placed_at: datetime) -> OrderKey:
    record = a_record(placing=a_place_order(customer_id=customer_id), placed_at=placed_at)
    await project(engine, record)
    return OrderKey(created_at=placed_at, order_id=record.order.id)


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
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
        met += [OrderKey(created_at=order.created_at, order_id=order.id) for order in page]
        if len(met) < len(placed):
            await place(engine, customer, NOON + timedelta(minutes=late))

    assert met == sorted(met, key=lambda key: (key.created_at, key.order_id), reverse=newest_first)
    assert len(met) == len(set(met))
    assert set(placed) <= set(met)
