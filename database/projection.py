"""Writing the projection: one transaction, idempotent, in any order, never backwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from database.engine import connected
from database.tables import order_items, order_status_history, orders
from orders.order import OrderRecord

Row = dict[str, Any]


class PlacedBefore(Exception):  # noqa: N818 - the name is the fact
    """PostgreSQL has the order from an earlier placing, which Temporal has forgotten."""

    def __init__(self, order_id: UUID, placed_at: datetime) -> None:
        super().__init__(f"Order {order_id} was placed at {placed_at} before: this is a second life")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the three tables hold of an order: items by position, history by version."""

    order: Row
    items: tuple[Row, ...]
    history: tuple[Row, ...]


def rows_of(record: OrderRecord) -> Rows:
    """What the three tables hold once the record is projected."""
    return Rows(order=_order_row(record), items=_item_rows(record), history=_history_rows(record))


async def project(engine: AsyncEngine, record: OrderRecord) -> None:
    """Bring PostgreSQL at least as far as the record.

    A record carries the whole order and its whole history, so a repeated, late or lost projection
    costs nothing: what is there stays, what is missing is added, and the row only moves forward.

    A decision that was projected, and lost to a crash before Temporal had it, is made again at a later
    time: of two decisions for one version the later one is the recorded one, and replaces the other.

    Raises:
        PlacedBefore: the order is there from an earlier placing, which stays as it is.
    """
    rows = rows_of(record)
    async with connected(engine) as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            moved = await connection.execute(_ORDER, rows.order)
            if moved.rowcount == 0:
                await _refuse_second_life(connection, record)
            await connection.execute(_ITEMS, list(rows.items))
            await connection.execute(_HISTORY, list(rows.history))


async def _refuse_second_life(connection: AsyncConnection, record: OrderRecord) -> None:
    """Raise where PostgreSQL has the order from an earlier placing.

    When an order was placed is when its workflow was started, so a workflow never changes it; two rows
    that agree on another time are no slip of a hand.
    """
    placed_at = (await connection.execute(_PLACED_AT, {"order_id": record.order.id})).scalar()
    if placed_at is not None and placed_at < record.order.created_at:
        raise PlacedBefore(record.order.id, placed_at)


_PLACED_AT = (
    select(orders.c.created_at)
    .join(order_status_history, order_status_history.c.order_id == orders.c.id)
    .where(orders.c.id == bindparam("order_id"))
    .where(order_status_history.c.version == 1, order_status_history.c.changed_at == orders.c.created_at)
)

_INSERT_ORDER = insert(orders)
_ORDER = _INSERT_ORDER.on_conflict_do_update(
    index_elements=[orders.c.id],
    set_={name: _INSERT_ORDER.excluded[name] for name in ("status", "version", "updated_at")},
    where=tuple_(orders.c.version, orders.c.updated_at)
    < tuple_(_INSERT_ORDER.excluded.version, _INSERT_ORDER.excluded.updated_at),
)
_ITEMS = insert(order_items).on_conflict_do_nothing()
_INSERT_HISTORY = insert(order_status_history)
_HISTORY = _INSERT_HISTORY.on_conflict_do_update(
    index_elements=[order_status_history.c.order_id, order_status_history.c.version],
    set_={
        column.name: _INSERT_HISTORY.excluded[column.name]
        for column in order_status_history.c
        if column.name not in {"id", "order_id", "version"}
    },
    where=order_status_history.c.changed_at < _INSERT_HISTORY.excluded.changed_at,
)


def _order_row(record: OrderRecord) -> Row:
    order = record.order
    return {
        "id": order.id,
        "customer_id": order.customer_id,
        "status": order.status,
        "currency": order.currency,
        "total_amount": order.total_amount,
        "version": order.version,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }


def _item_rows(record: OrderRecord) -> tuple[Row, ...]:
    return tuple(
        {
            "id": item.id,
            "order_id": record.order.id,
            "position": position,
            "product_id": item.product_id,
            "quantity": item.quantity,
            "unit_price": item.unit_price,
        }
        for position, item in enumerate(record.order.items)
    )


def _history_rows(record: OrderRecord) -> tuple[Row, ...]:
    return tuple(
        {
            "id": uuid5(record.order.id, f"version-{change.version}"),
            "order_id": record.order.id,
            "version": change.version,
            "old_status": change.old_status,
            "new_status": change.new_status,
            "changed_at": change.changed_at,
            "changed_by": change.changed_by,
            "reason": change.reason,
            "command_id": change.command_id,
            "on_behalf_of": change.on_behalf_of,
            "request_id": change.request_id,
        }
        for change in record.history
    )
