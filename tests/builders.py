"""Orders for tests: a test names what it is about, the rest is filled in."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from orders import lifecycle
from orders.commands import ChangeStatus, NewLineItem, PlaceOrder
from orders.money import DEFAULT_CURRENCY
from orders.order import OrderRecord
from orders.status import OrderStatus

NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


def an_item(unit_price: str = "25.50", quantity: int = 2, product_id: str = "mouse") -> NewLineItem:
    return NewLineItem(product_id=product_id, quantity=quantity, unit_price=Decimal(unit_price))


def a_place_order(
    *items: NewLineItem,
    order_id: UUID | None = None,
    customer_id: str = "customer_123",
    currency: str = DEFAULT_CURRENCY,
) -> PlaceOrder:
    """An order for the items, or for the laptop and the two mice of the README: 1050.99 USD."""
    return PlaceOrder(
        order_id=order_id or uuid4(),
        customer_id=customer_id,
        items=items or (an_item("999.99", 1, "laptop"), an_item("25.50", 2, "mouse")),
        currency=currency,
    )


def a_change(
    status: OrderStatus,
    *,
    command_id: str | None = None,
    changed_by: str = "warehouse",
    reason: str | None = None,
    expected_version: int | None = None,
) -> ChangeStatus:
    """A command with an id of its own, unless one is given."""
    return ChangeStatus(
        command_id=command_id or str(uuid4()),
        status=status,
        changed_by=changed_by,
        reason=reason,
        expected_version=expected_version,
    )


def a_record(
    *moves: OrderStatus, placing: PlaceOrder | None = None, placed_at: datetime = NOON
) -> OrderRecord:
    """An order that was placed and then moved, a minute apart."""
    record = lifecycle.place(placing or a_place_order(), placed_at)
    for status in moves:
        now = record.order.updated_at + timedelta(minutes=1)
        record = lifecycle.apply(record, lifecycle.decide(record, a_change(status), now))
    return record
