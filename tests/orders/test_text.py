import json
import sys

import pytest
from hypothesis import given

from orders.errors import InvalidValue
from orders.text import check_identifier, check_reason
from tests.orders.strategies import identifiers, reasons


def is_identifier(text: str) -> bool:
    try:
        check_identifier("customer_id", text)
    except InvalidValue:
        return False
    return True


CONTROL_CHARACTERS = ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\ud800"]


@given(identifiers)
def test_any_printable_name_is_an_identifier(name: str) -> None:
    check_identifier("customer_id", name)


@given(reasons)
def test_any_printable_text_of_up_to_1000_characters_is_a_reason(text: str | None) -> None:
    check_reason("reason", text)


@pytest.mark.parametrize("blank", ["", " ", "\u00a0\u2003"])
def test_an_identifier_is_not_blank(blank: str) -> None:
    with pytest.raises(InvalidValue, match=r"^customer_id: must not be blank$"):
        check_identifier("customer_id", blank)


def test_an_identifier_has_at_most_255_characters() -> None:
    check_identifier("customer_id", "x" * 255)
    with pytest.raises(InvalidValue, match=r"^customer_id: must have at most 255 characters$"):
        check_identifier("customer_id", "x" * 256)


def test_an_identifier_has_at_most_600_bytes() -> None:
    check_identifier("customer_id", "\N{PACKAGE}" * 150)
    with pytest.raises(InvalidValue, match=r"^customer_id: must have at most 600 bytes in UTF-8$"):
        check_identifier("customer_id", "\N{PACKAGE}" * 151)


@pytest.mark.parametrize(
    "character", ["a", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{CJK UNIFIED IDEOGRAPH-4E00}", "\N{PACKAGE}"]
)
def test_the_longest_identifier_fits_a_search_attribute_in_any_script(character: str) -> None:
    longest = max(filter(is_identifier, (character * length for length in range(1, 256))), key=len)

    # Temporal writes it as ASCII JSON, and takes 2,048 bytes.
    assert len(json.dumps(longest)) <= 2_048


def test_a_reason_has_at_most_1000_characters() -> None:
    check_reason("reason", "x" * 1_000)
    with pytest.raises(InvalidValue, match=r"^reason: must have at most 1000 characters$"):
        check_reason("reason", "x" * 1_001)


@pytest.mark.parametrize("character", CONTROL_CHARACTERS, ids=ascii)
def test_no_text_holds_what_a_store_or_a_log_cannot(character: str) -> None:
    with pytest.raises(InvalidValue, match=r"^customer_id: must not contain control characters$"):
        check_identifier("customer_id", f"a{character}b")
    with pytest.raises(InvalidValue, match=r"^reason: must not contain control characters$"):
        check_reason("reason", f"a{character}b")


def test_no_identifier_spans_two_lines() -> None:
    breaks = [chr(code) for code in range(sys.maxunicode + 1) if len(f"a{chr(code)}b".splitlines()) > 1]

    assert breaks != []
    assert [character for character in breaks if is_identifier(f"a{character}b")] == []
