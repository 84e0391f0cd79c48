from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.money import CURRENCY_DECIMALS, DEFAULT_CURRENCY, has_currency_decimals, quantize
from tests.orders.strategies import currencies


def test_an_order_is_in_dollars_unless_it_says_otherwise() -> None:
    assert DEFAULT_CURRENCY == "USD"


@pytest.mark.parametrize(
    ("decimals", "code"), [(0, "JPY"), (0, "ISK"), (2, "USD"), (2, "HUF"), (3, "KWD"), (4, "CLF")]
)
def test_each_currency_has_the_decimals_of_iso_4217(decimals: int, code: str) -> None:
    assert decimals == CURRENCY_DECIMALS[code]


def test_every_code_is_three_capital_letters() -> None:
    assert [
        code for code in CURRENCY_DECIMALS if not (len(code) == 3 and code.isascii() and code.isupper())
    ] == []


@pytest.mark.parametrize("gone", ["HRK", "BGN", "DEM", "XXX", "usd", ""])
def test_what_is_no_money_today_is_no_currency(gone: str) -> None:
    assert gone not in CURRENCY_DECIMALS


@pytest.mark.parametrize(
    ("fits", "amount", "currency"),
    [
        (True, "1", "JPY"),
        (True, "1.0", "JPY"),
        (False, "1.5", "JPY"),
        (True, "1E+3", "JPY"),
        (True, "1.50", "USD"),
        (True, "1.500000", "USD"),
        (False, "1.001", "USD"),
        (True, "1.001", "KWD"),
        (False, "1.0001", "KWD"),
        (True, "1.0001", "CLF"),
        (False, "1.00001", "CLF"),
        # More digits than Decimal arithmetic keeps.
        (False, "1.0000000000000000000000000000000000001", "USD"),
        (True, "1000000000000000000000000000000000000.01", "USD"),
        (True, "1E+999999", "USD"),
        (False, "1E-999999", "USD"),
    ],
)
def test_an_amount_can_be_paid_or_it_cannot(*, fits: bool, amount: str, currency: str) -> None:
    assert fits is has_currency_decimals(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("shown", "amount", "currency"),
    [("25.50", "25.5", "USD"), ("1000", "1E+3", "JPY"), ("1.000", "1", "KWD"), ("7", "7.00", "JPY")],
)
def test_money_is_written_with_exactly_its_currencys_decimals(shown: str, amount: str, currency: str) -> None:
    assert shown == str(quantize(Decimal(amount), currency))


@given(currencies, st.integers(1, 10**16))
def test_writing_an_amount_with_its_decimals_does_not_change_it(currency: str, units: int) -> None:
    amount = Decimal(units).scaleb(-CURRENCY_DECIMALS[currency])

    assert amount == quantize(amount.normalize(), currency)
