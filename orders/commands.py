"""What somebody wants of an order: an intent with an id."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from orders.money import DEFAULT_CURRENCY
from orders.status import OrderStatus

NO_VERSION = 0
"""What is expected of an order by somebody who asks for a version that no order has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLineItem:
    """A line of an order that is about to be placed."""

    product_id: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Place a new order. Its `order_id` is also the id of the command."""

    order_id: UUID
    customer_id: str
    items: tuple[NewLineItem, ...]
    currency: str = DEFAULT_CURRENCY
    placed_by: str = "api"
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStatus:
    """Move an order to `status`; cancelling is a change to CANCELLED.

    `expected_version`, where given, is the version that the caller has seen and wants to change. `sent_at`,
    where given, is an aware time and that of the change, so that a decision that is made again has it, too.
    """

    command_id: str
    status: OrderStatus
    changed_by: str
    reason: str | None = None
    expected_version: int | None = None
    on_behalf_of: str | None = None
    request_id: str | None = None
    sent_at: datetime | None = None
