from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given

from orders import lifecycle, limits
from orders.commands import PlaceOrder
from orders.errors import InvalidValue, LimitExceeded
from orders.money import CURRENCY_DECIMALS
from orders.order import StatusChange
from orders.status import OrderStatus
from tests.builders import NOON, a_place_order, an_item
from tests.orders.strategies import place_orders, times

ORDER = UUID("0198f2a4-0000-7000-8000-000000000001")


def sum_of_lines(command: PlaceOrder) -> Fraction:
    return sum((item.quantity * Fraction(item.unit_price) for item in command.items), start=Fraction(0))


# The property: the total is the sum of quantity times unit price.
@given(place_orders())
def test_the_total_is_exactly_the_sum_of_quantity_times_unit_price(command: PlaceOrder) -> None:
    assert sum_of_lines(command) == Fraction(lifecycle.total(command))


def the_largest_order(currency: str) -> PlaceOrder:
    """As many of the dearest lines as are taken, and an amount with as many digits as there can be."""
    smallest = Decimal(1).scaleb(-CURRENCY_DECIMALS[currency])
    dearest = an_item(str(limits.MAX_UNIT_PRICE - smallest), limits.MAX_QUANTITY)
    return a_place_order(*[dearest] * limits.MAX_ITEMS, currency=currency)


def test_the_total_is_exact_in_every_currency_at_the_largest_order() -> None:
    largest = [the_largest_order(currency) for currency in CURRENCY_DECIMALS]

    assert [it.currency for it in largest if sum_of_lines(it) != Fraction(lifecycle.total(it))] == []


def test_the_total_has_the_currencys_decimals() -> None:
    assert str(lifecycle.total(a_place_order(an_item("0.5", 2)))) == "1.00"


def test_the_order_of_the_readme_costs_1050_99() -> None:
    assert str(lifecycle.place(a_place_order(), NOON).order.total_amount) == "1050.99"


def test_a_placed_order_is_pending_at_version_1() -> None:
    command = a_place_order(order_id=ORDER, customer_id="customer_123")

    record = lifecycle.place(command, NOON)

    order = record.order
    assert (order.id, order.customer_id, order.currency) == (ORDER, "customer_123", "USD")
    assert (order.status, order.version) == ("PENDING", 1)
    assert (order.created_at, order.updated_at) == (NOON, NOON)
    assert record.history == (
        StatusChange(
            version=1,
            old_status=None,
            new_status=OrderStatus.PENDING,
            changed_at=NOON,
            changed_by="api",
            reason=None,
            command_id=str(ORDER),
        ),
    )


def test_the_lines_keep_their_order_and_write_their_prices_in_full() -> None:
    command = a_place_order(
        an_item("999.9", 1, "laptop"), an_item("25", 2, "mouse"), an_item("25", 2, "mouse")
    )

    items = lifecycle.place(command, NOON).order.items

    assert [(item.product_id, item.quantity, str(item.unit_price)) for item in items] == [
        ("laptop", 1, "999.90"),
        ("mouse", 2, "25.00"),
        ("mouse", 2, "25.00"),
    ]
    assert len({item.id for item in items}) == 3


@given(place_orders(), times)
def test_placing_the_same_order_again_gives_the_same_order(command: PlaceOrder, now: datetime) -> None:
    assert lifecycle.place(command, now) == lifecycle.place(command, now)


@given(place_orders())
def test_a_well_formed_order_is_refused_only_for_its_total(command: PlaceOrder) -> None:
    if sum_of_lines(command) <= 10**12:
        lifecycle.validate(command)
    else:
        with pytest.raises(LimitExceeded, match=r"^total_amount: must be at most 1000000000000 "):
            lifecycle.validate(command)


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("customer_id: must not be blank", a_place_order(customer_id=" ")),
        ("customer_id: must not contain control characters", a_place_order(customer_id="a\0b")),
        ("currency: must be an ISO 4217 code such as USD", a_place_order(currency="usd")),
        ("items.0.product_id: must not be blank", a_place_order(an_item(product_id=""))),
        ("items.1.quantity: must be at least 1", a_place_order(an_item(), an_item(quantity=0))),
        ("items.0.quantity: must be at least 1", a_place_order(an_item(quantity=-1))),
        ("items.0.unit_price: must be greater than 0", a_place_order(an_item("0"))),
        ("items.0.unit_price: must be greater than 0", a_place_order(an_item("-0.01"))),
        ("items.0.unit_price: must be greater than 0", a_place_order(an_item("NaN"))),
        ("items.0.unit_price: must be greater than 0", a_place_order(an_item("sNaN"))),
        ("items.0.unit_price: must be greater than 0", a_place_order(an_item("Infinity"))),
        ("items.0.unit_price: must have at most 2 decimals in USD", a_place_order(an_item("1.001"))),
        (
            "items.0.unit_price: must have at most 0 decimals in JPY",
            a_place_order(an_item("1.5"), currency="JPY"),
        ),
    ],
)
def test_an_order_without_a_meaning_is_refused(message: str, command: PlaceOrder) -> None:
    with pytest.raises(InvalidValue) as refusal:
        lifecycle.validate(command)

    assert (message, InvalidValue) == (str(refusal.value), refusal.type)


def test_an_order_without_items_is_refused() -> None:
    empty = PlaceOrder(order_id=ORDER, customer_id="customer_123", items=())

    with pytest.raises(InvalidValue, match=r"^items: must have at least one item$"):
        lifecycle.validate(empty)


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("items: must have at most 500 items", a_place_order(*[an_item()] * 501)),
        ("items.0.quantity: must be at most 1000000", a_place_order(an_item("0.01", 1_000_001))),
        ("items.0.unit_price: must be at most 1000000000", a_place_order(an_item("1000000000.01", 1))),
        ("items.0.unit_price: must be at most 1000000000", a_place_order(an_item("1E+999999", 1))),
        (
            "total_amount: must be at most 1000000000000 USD",
            a_place_order(an_item("1000000000", 1_000), an_item("0.01", 1)),
        ),
    ],
)
def test_an_order_beyond_a_limit_is_refused(message: str, command: PlaceOrder) -> None:
    with pytest.raises(LimitExceeded) as refusal:
        lifecycle.validate(command)

    assert message == str(refusal.value)


@pytest.mark.parametrize(
    "command",
    [
        a_place_order(*[an_item()] * 500),
        a_place_order(an_item("0.01", 1_000_000)),
        a_place_order(an_item("1000000000", 1_000)),
    ],
    ids=["items", "quantity", "price and total"],
)
def test_an_order_at_a_limit_is_taken(command: PlaceOrder) -> None:
    lifecycle.validate(command)
