"""Reading the projection. Every statement but a count walks an index; `tests/database` looks at the plans."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, bindparam, exists, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from database.engine import connected
from database.tables import order_items, order_status_history, orders
from orders.limits import MAX_ITEMS
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


MOST_LINES = (50 + 1) * MAX_ITEMS
"""Lines of the orders that are read at once: 50 of the largest kind, and one more to know whether there are
more. All that is read stands in memory and is put together while nobody else is served."""


class TooManyLines(ValueError):  # noqa: N818 - the name is the fact
    """The orders of a page have more than `MOST_LINES` lines together."""


class UnknownKey(LookupError):  # noqa: N818 - the name is the fact
    """No order has the key after which a list was to go on."""


async def check_reachable(engine: AsyncEngine) -> None:
    """Return once PostgreSQL has answered; raise `DatabaseUnavailable` when it does not."""
    async with connected(engine) as connection:
        await connection.execute(select(1))


async def get_order(engine: AsyncEngine, order_id: UUID) -> Order | None:
    """The order with its items, or None."""
    async with connected(engine) as connection:
        return await _read_order(connection, order_id)


async def get_history(engine: AsyncEngine, order_id: UUID, *, after: int = 0) -> tuple[StatusChange, ...]:
    """Every change of the order after a version, oldest first; empty where there is no such order."""
    async with connected(engine) as connection:
        return await _read_history(connection, order_id, after)


async def get_record(engine: AsyncEngine, order_id: UUID) -> OrderRecord | None:
    """The order with its whole history, or None."""
    async with connected(engine) as connection:
        order = await _read_order(connection, order_id)
        if order is None:
            return None
        history = await _read_history(connection, order_id, after=0)
    # A change that landed between the two reads must not make the history run ahead of the order.
    return OrderRecord(order=order, history=history[: order.version])


async def list_orders(
    engine: AsyncEngine,
    wanted: OrderFilter,
    *,
    limit: int,
    after: OrderKey | None = None,
    newest_first: bool = True,
) -> list[Order]:
    """At most `limit` orders, from the start of the list or after a key.

    Raises:
        UnknownKey: no order has the key. Orders are never deleted, so none ever had it.
        TooManyLines: they are too large to be read at once.
    """
    page = _page(wanted, newest_first=newest_first, limit=limit, after=after)
    async with connected(engine) as connection:
        if after is not None and not await _is_key(connection, after):
            raise UnknownKey
        return await _read_orders(connection, page, newest_first=newest_first)


async def list_numbered(
    engine: AsyncEngine, wanted: OrderFilter, *, limit: int, offset: int, newest_first: bool = True
) -> tuple[list[Order], int]:
    """At most `limit` orders after the first `offset` ones, and the exact number of all, of one moment.

    Raises:
        TooManyLines: they are too large to be read at once.
    """
    count = select(func.count()).select_from(orders).where(*_conditions(wanted))
    page = _page(wanted, newest_first=newest_first, limit=limit, offset=offset)
    async with connected(engine) as connection:
        # One snapshot for both statements: an order that arrives between them is in neither.
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            total = (await connection.execute(count)).scalar_one()
            if offset >= total:
                return [], total
            return await _read_orders(connection, page, newest_first=newest_first), total


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
        .order_by(orders.c.created_at, orders.c.id)
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


async def count_pending(engine: AsyncEngine, order_ids: Sequence[UUID]) -> int:
    """How many of these orders are PENDING."""
    statement = select(func.count()).where(orders.c.id.in_(order_ids), orders.c.status == OrderStatus.PENDING)
    async with connected(engine) as connection:
        return (await connection.execute(statement)).scalar_one()


def _literal(key: OrderKey) -> ColumnElement[Any]:
    return tuple_(literal(key.created_at), literal(key.order_id))


def _page(
    wanted: OrderFilter,
    *,
    newest_first: bool,
    limit: int,
    offset: int = 0,
    after: OrderKey | None = None,
) -> Select[Any]:
    """A page of orders, such that PostgreSQL reads no more of an index than `offset + limit` orders.

    Several statuses, and so all of a customer's, are several stretches of an index, which PostgreSQL would
    sort as a whole, or seek by walking all orders. So each gives a page of its own, and these are merged.
    """
    statuses = wanted.statuses or (tuple(OrderStatus) if wanted.customer_id is not None else ())
    if len(statuses) > 1:
        stretches = union_all(
            *(
                _page(
                    replace(wanted, statuses=(status,)),
                    newest_first=newest_first,
                    limit=offset + limit,
                    after=after,
                )
                for status in statuses
            )
        ).subquery("stretches")
        page, keys = select(stretches), (stretches.c.created_at, stretches.c.id)
    else:
        page, keys = select(orders).where(*_conditions(wanted)), (orders.c.created_at, orders.c.id)
        if after is not None:
            page = page.where(_literal(after) > _KEY if newest_first else _literal(after) < _KEY)
    return page.order_by(*_ordered(keys, newest_first=newest_first)).limit(limit).offset(offset)


def _ordered(keys: Sequence[ColumnElement[Any]], *, newest_first: bool) -> list[ColumnElement[Any]]:
    return [key.desc() if newest_first else key for key in keys]


async def _is_key(connection: AsyncConnection, key: OrderKey) -> bool:
    statement = select(exists().where(orders.c.id == key.order_id, orders.c.created_at == key.created_at))
    return (await connection.execute(statement)).scalar_one()


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
    lines = (await connection.execute(_ONE_ORDER, {"order_id": order_id})).all()
    return _to_order(lines) if lines else None


async def _read_history(connection: AsyncConnection, order_id: UUID, after: int) -> tuple[StatusChange, ...]:
    rows = await connection.execute(_ONE_HISTORY, {"order_id": order_id, "after": after})
    return tuple(_to_change(row) for row in rows)


async def _read_orders(connection: AsyncConnection, page: Select[Any], *, newest_first: bool) -> list[Order]:
    lines = _with_items(page, newest_first=newest_first).limit(MOST_LINES + 1)
    rows = (await connection.execute(lines)).all()
    if len(rows) > MOST_LINES:
        raise TooManyLines
    return [_to_order(list(lines)) for _, lines in groupby(rows, key=lambda row: row.id)]


_ITEM_COLUMNS = ("id", "product_id", "quantity", "unit_price")


def _with_items(page: Select[Any], *, newest_first: bool = True) -> Select[Any]:
    """A selection of orders together with their items, a row for each item, in one statement."""
    chosen = page.subquery("orders")
    keys = _ordered((chosen.c.created_at, chosen.c.id), newest_first=newest_first)
    return (
        select(chosen, *(order_items.c[name].label(f"item_{name}") for name in _ITEM_COLUMNS))
        .join(order_items, order_items.c.order_id == chosen.c.id)
        .order_by(*keys, order_items.c.position)
    )


# Built once: to build a statement costs a good part of what a read by id does (docs/decisions/0011).
_ONE_ORDER = _with_items(select(orders).where(orders.c.id == bindparam("order_id")))
_ONE_HISTORY = (
    select(order_status_history)
    .where(
        order_status_history.c.order_id == bindparam("order_id"),
        order_status_history.c.version > bindparam("after"),
    )
    .order_by(order_status_history.c.version)
)


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
