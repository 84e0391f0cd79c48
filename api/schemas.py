"""What the API takes and gives, as OpenAPI documents it."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

from orders.commands import NewLineItem, PlaceOrder
from orders.errors import InvalidValue
from orders.limits import MAX_ITEMS, MAX_QUANTITY, MAX_UNIT_PRICE
from orders.money import CURRENCY_DECIMALS, DEFAULT_CURRENCY
from orders.order import Order, StatusChange
from orders.status import OrderStatus
from orders.text import MAX_IDENTIFIER_LENGTH, MAX_REASON_LENGTH, check_identifier, check_reason

_PLAIN_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

LAPTOP_AND_MICE: dict[str, Any] = {
    "customer_id": "customer_123",
    "items": [
        {"product_id": "laptop", "quantity": 1, "unit_price": "999.99"},
        {"product_id": "mouse", "quantity": 2, "unit_price": "25.50"},
    ],
}
ORDER_EXAMPLE: dict[str, Any] = {
    "id": "0190c7b2-6f00-7000-8000-000000000001",
    "customer_id": "customer_123",
    "status": "PENDING",
    "currency": "USD",
    "total_amount": "1050.99",
    "items": [
        {
            "id": "6f9b0f6e-2c3c-5d6e-9c55-2b6f0f7f3a01",
            "product_id": "laptop",
            "quantity": 1,
            "unit_price": "999.99",
        },
        {
            "id": "6f9b0f6e-2c3c-5d6e-9c55-2b6f0f7f3a02",
            "product_id": "mouse",
            "quantity": 2,
            "unit_price": "25.50",
        },
    ],
    "version": 1,
    "created_at": "2026-01-05T09:30:00.123456Z",
    "updated_at": "2026-01-05T09:30:00.123456Z",
    "allowed_transitions": ["PROCESSING", "CANCELLED"],
}


def _plain_decimal(value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
    """Let through only what a person would call an amount: no exponents, blanks or foreign digits."""
    if isinstance(value, str) and not _PLAIN_DECIMAL.fullmatch(value):
        raise ValueError("must be a decimal number such as 25.50")
    return value


def _one_form(value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
    """Let through no `urn:uuid:`, braces or capitals, so that an order has one address."""
    if isinstance(value, str) and not _UUID.fullmatch(value):
        raise ValueError("must be a UUID in lower case, such as 0190c7b2-6f00-7000-8000-000000000001")
    return value


def _by(check: Callable[[str, str], None]) -> AfterValidator:
    """Validate by a rule of the domain, which names no place: the field does."""

    def validate(value: str) -> str:
        try:
            check("", value)
        except InvalidValue as refusal:
            raise ValueError(refusal.reason) from None
        return value

    return AfterValidator(validate)


# What `orders.text` refuses, for readers of the document; it is the domain that judges.
_NOT_PRINTABLE = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_IDENTIFIER_PATTERN = rf"^[^{_NOT_PRINTABLE}]*[^\s{_NOT_PRINTABLE}][^{_NOT_PRINTABLE}]*$"
_REASON_PATTERN = rf"^[^{_NOT_PRINTABLE}]*$"
_AMOUNT_PATTERN = r"^\+?([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)$"

OrderId = Annotated[
    UUID,
    BeforeValidator(_one_form),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": f"^{_UUID.pattern}$"}),
]
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_IDENTIFIER_LENGTH),
    _by(check_identifier),
    Field(json_schema_extra={"pattern": _IDENTIFIER_PATTERN}),
]
Reason = Annotated[
    str,
    StringConstraints(max_length=MAX_REASON_LENGTH),
    _by(check_reason),
    Field(json_schema_extra={"pattern": _REASON_PATTERN}),
]
Currency = Annotated[str, Field(json_schema_extra={"enum": sorted(CURRENCY_DECIMALS)})]
Amount = Annotated[
    Decimal,
    Field(gt=0, max_digits=24),
    BeforeValidator(_plain_decimal),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": int(MAX_UNIT_PRICE)},
                {"type": "string", "maxLength": 25, "pattern": _AMOUNT_PATTERN},
            ]
        }
    ),
]
Quantity = Annotated[StrictInt, Field(ge=1, le=MAX_QUANTITY)]


class _Request(BaseModel):
    """A body: a key that we do not know is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewLineItemBody(_Request):
    """One line of a new order."""

    product_id: Identifier
    quantity: Quantity
    unit_price: Annotated[
        Amount, Field(description="A JSON number or string, at most the currency's decimals.")
    ]


class NewOrderBody(_Request):
    """A new order."""

    model_config = ConfigDict(json_schema_extra={"examples": [LAPTOP_AND_MICE]})

    customer_id: Identifier
    currency: Annotated[Currency, Field(description="ISO 4217 code.", examples=["USD"])] = DEFAULT_CURRENCY
    items: Annotated[list[NewLineItemBody], Field(min_length=1, max_length=MAX_ITEMS)]

    def command(self, order_id: UUID, placed_by: str, request_id: str) -> PlaceOrder:
        """The command that the body means."""
        return PlaceOrder(
            order_id=order_id,
            placed_by=placed_by,
            request_id=request_id,
            customer_id=self.customer_id,
            currency=self.currency,
            items=tuple(
                NewLineItem(product_id=item.product_id, quantity=item.quantity, unit_price=item.unit_price)
                for item in self.items
            ),
        )


class StatusBody(_Request):
    """A change of status."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "PROCESSING", "changed_by": "warehouse-7"}]}
    )

    status: OrderStatus
    changed_by: Annotated[
        Identifier | None,
        Field(description="Who wants it; with an API key, whom the key's holder acts for."),
    ] = None
    reason: Reason | None = None


class _Response(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LineItemView(_Response):
    """One line of an order."""

    id: UUID
    product_id: str
    quantity: int
    unit_price: Decimal


class OrderView(_Response):
    """An order. Amounts are decimal strings, times are UTC."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [ORDER_EXAMPLE]})

    id: UUID
    customer_id: str
    status: OrderStatus
    currency: str
    total_amount: Decimal
    items: list[LineItemView]
    version: int
    created_at: datetime
    updated_at: datetime
    allowed_transitions: list[OrderStatus]

    @classmethod
    def of(cls, order: Order) -> Self:
        """The view of a domain order."""
        return cls.model_validate(order)


class OrderPage(_Response):
    """A page of orders. `total` is exact in page mode and null when reading by cursor."""

    orders: list[OrderView]
    total: int | None = None
    page: int | None = None
    limit: int
    has_next: bool
    has_prev: bool
    next_cursor: str | None = None


class StatusChangeView(_Response):
    """One accepted transition; `old_status` is null for the placing."""

    version: int
    old_status: OrderStatus | None = None
    new_status: OrderStatus
    changed_at: datetime
    changed_by: str
    reason: str | None = None
    command_id: str
    on_behalf_of: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, change: StatusChange) -> Self:
        """The view of a domain change."""
        return cls.model_validate(change)


class OrderHistory(_Response):
    """Every change of an order, oldest first."""

    order_id: UUID
    history: list[StatusChangeView]


class RejectionView(_Response):
    """A signal that the order refused; what it said is null where it could not be read."""

    command_id: str | None = None
    status: str | None = None
    changed_by: str | None = None
    rejected_at: datetime
    reason: str
    request_id: str | None = None


class ExplainedWorkflow(_Response):
    """The workflow that owns the order, as Temporal has it."""

    id: str
    run_id: str
    status: str
    started_at: datetime
    closed_at: datetime | None = None
    history_events: int
    web_ui: str


class ExplainedTask(_Response):
    """A workflow task that no worker has finished."""

    attempt: int
    scheduled_at: datetime | None = None


class ExplainedActivity(_Response):
    """An activity that has not succeeded yet."""

    type: str
    state: str
    attempt: int
    last_failure: str | None = None
    next_attempt_at: datetime | None = None


class Explanation(_Response):
    """What an order waits for. `version` is the workflow's, `projected_version` PostgreSQL's.

    `workflow` is null once Temporal has forgotten it, `projected_version` where PostgreSQL has no order or
    cannot be asked.
    """

    order_id: UUID
    waits_for: str
    status: OrderStatus | None = None
    version: int | None = None
    projected_version: int | None = None
    workflow: ExplainedWorkflow | None = None
    pending_task: ExplainedTask | None = None
    pending_activities: list[ExplainedActivity]
    rejections: list[RejectionView]


class Accepted(_Response):
    """The command is durable and will be decided; look at the order for the outcome."""

    order_id: UUID
    command_id: str
    detail: str


class ErrorPlace(_Response):
    """What is wrong with a request, and where."""

    place: str
    reason: str


class Problem(_Response):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ErrorPlace] | None = None
    current_version: int | None = None
    current_status: OrderStatus | None = None
    requested_status: OrderStatus | None = None
    allowed_transitions: list[OrderStatus] | None = None


class Health(_Response):
    """Whether the service works; `dependencies` only where they were asked."""

    status: str
    service: str
    version: str
    dependencies: dict[str, str] | None = None
