"""Whatever an order may be, for Hypothesis."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from orders.commands import NewLineItem, PlaceOrder
from orders.money import CURRENCY_DECIMALS
from orders.status import OrderStatus

_TEXT = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
# 150 characters are short enough in any script: an identifier has at most 600 bytes.
identifiers = st.text(_TEXT, min_size=1, max_size=150).filter(lambda text: bool(text.strip()))
reasons = st.none() | st.text(_TEXT, max_size=1_000)
quantities = st.integers(1, 1_000_000)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda time: time.replace(fold=0)
)
currencies = st.sampled_from(sorted(CURRENCY_DECIMALS))
statuses = st.sampled_from(OrderStatus)


def prices(currency: str) -> st.SearchStrategy[Decimal]:
    """Every price up to a billion that exists in the currency, with or without trailing zeros."""
    decimals = CURRENCY_DECIMALS[currency]
    smallest = Decimal(1).scaleb(-decimals)
    exact = st.integers(1, 10 ** (9 + decimals)).map(lambda units: units * smallest)
    return exact | exact.map(Decimal.normalize)


@st.composite
def place_orders(draw: st.DrawFn) -> PlaceOrder:
    """Well-formed orders of up to five lines; their totals may exceed the shop's limit."""
    currency = draw(currencies)
    item = st.builds(NewLineItem, product_id=identifiers, quantity=quantities, unit_price=prices(currency))
    return PlaceOrder(
        order_id=draw(st.uuids()),
        customer_id=draw(identifiers),
        items=tuple(draw(st.lists(item, min_size=1, max_size=5))),
        currency=currency,
    )
