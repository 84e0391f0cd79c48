"""Reading the projection. Every statement but a count walks an index; `tests/database` looks at the plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from database.engine import connected
from database.tables import order_items, order_status_history, orders
from orders.money import quantize
from orders.order import LineItem, Order, OrderKey, OrderRecord, StatusChange
from orders.status import OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders to list. Times are UTC; `created_after` is inclusive, `created_before` is not."""

    statuses: tuple[OrderStatus, ...] = ()
    customer_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def check_reachable(engine: AsyncEngine) -> None:
    """Return once PostgreSQL has answered; raise `DatabaseUnavailable` when it does not."""
    async with connected(engine) as connection:
        await connection.execute(select(1))


async def get_order(engine: AsyncEngine, order_id: UUID) -> Order | None:
    """The order with its items, or None."""
    async with connected(engine) as connection:
        return await _read_order(connection, order_id)


async def get_history(engine: AsyncEngine, order_id: UUID) -> tuple[StatusChange, ...]:
    """Every change of the order, oldest first; empty where there is no such order."""
    async with connected(engine) as connection:
        return await _read_history(connection, order_id)


async def get_record(engine: AsyncEngine, order_id: UUID) -> OrderRecord | None:
    """The order with its whole history, or None."""
    async with connected(engine) as connection:
        order = await _read_order(connection, order_id)
        if order is None:
            return None
        history = await _read_history(connection, order_id)
    # A change that landed between the two reads must not make the history run ahead of the order.
    return OrderRecord(order=order, history=history[: order.version])


async def list_orders(  # noqa: PLR0913 - a page is what these say together
    engine: AsyncEngine,
    wanted: OrderFilter,
    *,
    limit: int,
    offset: int = 0,
    after: OrderKey | None = None,
    newest_first: bool = True,
) -> list[Order]:
    """At most `limit` orders: those after a key, or those that follow the first `offset` ones."""
    page = select(orders).where(*_conditions(wanted)).order_by(*_list_order(newest_first=newest_first))
    if after is not None:
        page = page.where(_literal(after) > _KEY if newest_first else _literal(after) < _KEY)
    async with connected(engine) as connection:
        return await _read_orders(connection, page.limit(limit).offset(offset), newest_first=newest_first)


async def count_orders(engine: AsyncEngine, wanted: OrderFilter) -> int:
    """The exact number of orders that the filter lets through."""
    statement = select(func.count()).select_from(orders).where(*_conditions(wanted))
    async with connected(engine) as connection:
        return (await connection.execute(statement)).scalar_one()


async def list_pending_keys(
    engine: AsyncEngine,
    *,
    placed_before: datetime,
    after: OrderKey | None = None,
    until: OrderKey | None = None,
    limit: int | None = None,
) -> list[OrderKey]:
    """The keys of PENDING orders, oldest first, after one key and up to and including another."""
    pending = OrderFilter(statuses=(OrderStatus.PENDING,), created_before=placed_before)
    statement = (
        select(orders.c.created_at, orders.c.id)
        .where(*_conditions(pending))
        .order_by(*_list_order(newest_first=False))
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_literal(after) < _KEY)
    if until is not None:
        statement = statement.where(_literal(until) >= _KEY)
    async with connected(engine) as connection:
        rows = await connection.execute(statement)
        return [OrderKey(created_at=row.created_at, order_id=row.id) for row in rows]


_KEY = tuple_(orders.c.created_at, orders.c.id)


def _literal(key: OrderKey) -> ColumnElement[Any]:
    return tuple_(literal(key.created_at), literal(key.order_id))


def _list_order(*, newest_first: bool) -> tuple[ColumnElement[Any], ...]:
    keys = (orders.c.created_at, orders.c.id)
    return tuple(key.desc() for key in keys) if newest_first else keys


def _conditions(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if len(wanted.statuses) == 1:
        conditions.append(orders.c.status == wanted.statuses[0])
    elif wanted.statuses:
        conditions.append(orders.c.status.in_(wanted.statuses))
    if wanted.customer_id is not None:
        conditions.append(orders.c.customer_id == wanted.customer_id)
    if wanted.created_after is not None:
        conditions.append(orders.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(orders.c.created_at < wanted.created_before)
    return conditions


async def _read_order(connection: AsyncConnection, order_id: UUID) -> Order | None:
    page = select(orders).where(orders.c.id == order_id)
    found = await _read_orders(connection, page, newest_first=True)
    return found[0] if found else None


async def _read_history(connection: AsyncConnection, order_id: UUID) -> tuple[StatusChange, ...]:
    history = order_status_history
    statement = select(history).where(history.c.order_id == order_id).order_by(history.c.version)
    return tuple(_to_change(row) for row in await connection.execute(statement))


async def _read_orders(connection: AsyncConnection, page: Select[Any], *, newest_first: bool) -> list[Order]:
    """Run a selection of orders together with their items, in one statement."""
    chosen = page.subquery("orders")
    created_at, order_id = (chosen.c.created_at, chosen.c.id)
    keys = (created_at.desc(), order_id.desc()) if newest_first else (created_at, order_id)
    statement = (
        select(chosen, *(order_items.c[name].label(f"item_{name}") for name in _ITEM_COLUMNS))
        .join(order_items, order_items.c.order_id == order_id)
        .order_by(*keys, order_items.c.position)
    )
    rows = (await connection.execute(statement)).all()
    return [_to_order(list(lines)) for _, lines in groupby(rows, key=lambda row: row.id)]


_ITEM_COLUMNS = ("id", "product_id", "quantity", "unit_price")


def _to_order(lines: Sequence[Row[Any]]) -> Order:
    row = lines[0]
    return Order(
        id=row.id,
        customer_id=row.customer_id,
        status=OrderStatus(row.status),
        currency=row.currency,
        total_amount=quantize(row.total_amount, row.currency),
        items=tuple(
            LineItem(
                id=line.item_id,
                product_id=line.item_product_id,
                quantity=line.item_quantity,
                unit_price=quantize(line.item_unit_price, row.currency),
            )
            for line in lines
        ),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _to_change(row: Row[Any]) -> StatusChange:
    return StatusChange(
        version=row.version,
        old_status=row.old_status and OrderStatus(row.old_status),
        new_status=OrderStatus(row.new_status),
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        reason=row.reason,
        command_id=row.command_id,
        on_behalf_of=row.on_behalf_of,
        request_id=row.request_id,
    )
