"""The projection as it is stored, whole or not: reading it to compare it, and writing it anew."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, delete, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from database.engine import connected
from database.projection import Row, Rows, rows_of
from database.tables import order_items, order_status_history, orders
from orders.order import OrderKey, OrderRecord


async def count(engine: AsyncEngine) -> int:
    """How many orders are stored."""
    async with connected(engine) as connection:
        return (await connection.execute(select(func.count()).select_from(orders))).scalar_one()


async def read_rows(engine: AsyncEngine, order_ids: Iterable[UUID]) -> dict[UUID, Rows]:
    """What is stored of each order at one moment; an order without a row is left out."""
    async with connected(engine) as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            return await _read(connection, list(order_ids))


async def read_page(engine: AsyncEngine, *, after: OrderKey | None, limit: int) -> list[Rows]:
    """What is stored of the next `limit` orders, oldest first; empty at the end of the list."""
    key = (orders.c.created_at, orders.c.id)
    page = select(orders.c.id).order_by(*key).limit(limit)
    if after is not None:
        page = page.where(tuple_(*key) > tuple_(literal(after.created_at), literal(after.order_id)))
    async with connected(engine) as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            ids = list((await connection.execute(page)).scalars())
            found = await _read(connection, ids)
    return [found[order_id] for order_id in ids]


async def overwrite(engine: AsyncEngine, seen: Rows, ask: Callable[[], Awaitable[OrderRecord]]) -> bool:
    """Replace what is stored of an order by what its workflow says; False when it is not as seen any more.

    The workflow is asked while the order's row is locked, and every projection takes that lock first. So
    a change that the answer does not hold yet is projected after this transaction, and on top of it.
    """
    order_id = seen.order["id"]
    async with connected(engine) as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            await connection.execute(select(orders.c.id).where(orders.c.id == order_id).with_for_update())
            if (await _read(connection, [order_id])).get(order_id) != seen:
                return False
            rows = rows_of(await ask())
            await connection.execute(update(orders).where(orders.c.id == order_id).values(rows.order))
            await _replace(connection, order_items, order_id, rows.items)
            await _replace(connection, order_status_history, order_id, rows.history)
    return True


async def _replace(connection: AsyncConnection, table: Table, order_id: UUID, rows: Sequence[Row]) -> None:
    # By their own ids, too: somebody may have given a row of this order to another one.
    own = table.c.id.in_([row["id"] for row in rows])
    await connection.execute(delete(table).where(or_(table.c.order_id == order_id, own)))
    await connection.execute(insert(table), list(rows))


async def _read(connection: AsyncConnection, order_ids: Sequence[UUID]) -> dict[UUID, Rows]:
    found = await _select(connection, orders.c.id, order_ids, orders.c.id)
    items = await _select(connection, order_items.c.order_id, order_ids, order_items.c.position)
    history = order_status_history
    changes = await _select(connection, history.c.order_id, order_ids, history.c.version)
    return {
        order_id: Rows(order=row, items=tuple(items[order_id]), history=tuple(changes[order_id]))
        for order_id, [row] in found.items()
    }


async def _select(
    connection: AsyncConnection, key: Column[UUID], order_ids: Sequence[UUID], place: Column[Any]
) -> defaultdict[UUID, list[Row]]:
    """A table's rows by the order that they belong to."""
    found = defaultdict(list)
    statement = select(key.table).where(key.in_(order_ids)).order_by(place)
    for row in (await connection.execute(statement)).mappings():
        found[row[key]].append(dict(row))
    return found
