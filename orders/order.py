"""The order, its lines and the changes that it has been through: plain, immutable data."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from orders.status import TRANSITIONS, OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class LineItem:
    """One line of an order. `unit_price` is in the order's currency, with exactly its decimals."""

    id: UUID
    product_id: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order at one version. Times are UTC; `version` is 1 when placed, +1 for each change."""

    id: UUID
    customer_id: str
    status: OrderStatus
    currency: str
    total_amount: Decimal
    items: tuple[LineItem, ...]
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def allowed_transitions(self) -> tuple[OrderStatus, ...]:
        """Every status that this order may move to next."""
        return TRANSITIONS[self.status]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKey:
    """An order's place in every list: by time placed, then by id. It never changes."""

    created_at: datetime
    order_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """One accepted transition, the placing included (`old_status` is None then).

    `changed_by` is who is known to have asked, `on_behalf_of` whom they named; `request_id` is the HTTP
    request that brought the command, and finds its lines in every log.
    """

    version: int
    old_status: OrderStatus | None
    new_status: OrderStatus
    changed_at: datetime
    changed_by: str
    reason: str | None
    command_id: str
    on_behalf_of: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order and everything that has happened to it: the workflow's state, and what is projected.

    The history is bounded by the state machine (four changes at most), and so are the command ids
    in it: it is the whole memory of which commands were carried out.
    """

    order: Order
    history: tuple[StatusChange, ...]
