import base64
import string
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.cursors import CURSOR_LENGTH, Cursor
from database.queries import OrderFilter
from orders.order import OrderKey
from orders.status import OrderStatus
from tests.builders import NOON

ALPHABET = string.ascii_letters + string.digits + "-_"

moments = st.datetimes(timezones=st.just(UTC))
keys = st.builds(OrderKey, created_at=moments, order_id=st.uuids())
filters = st.builds(
    OrderFilter,
    statuses=st.lists(st.sampled_from(OrderStatus), unique=True).map(tuple),
    customer_id=st.none() | st.text(),
    created_after=st.none() | moments,
    created_before=st.none() | moments,
)
cursors = st.builds(Cursor.of, keys, filters, newest_first=st.booleans())

SOME = OrderFilter(
    statuses=(OrderStatus.PENDING, OrderStatus.SHIPPED),
    customer_id="ann",
    created_after=NOON,
    created_before=NOON.replace(hour=13),
)


@given(cursors)
def test_a_cursor_comes_back_as_it_went(cursor: Cursor) -> None:
    assert Cursor.decode(cursor.encode()) == cursor


@given(cursors)
def test_a_cursor_needs_no_escaping_in_a_url_and_has_one_length(cursor: Cursor) -> None:
    assert set(cursor.encode()) <= set(ALPHABET)
    assert len(cursor.encode()) == CURSOR_LENGTH


@given(
    key=keys,
    wanted=filters,
    newest_first=st.booleans(),
    place=st.integers(0, CURSOR_LENGTH - 1),
    character=st.sampled_from(f"{ALPHABET}+/= "),
)
def test_a_cursor_of_which_one_character_was_changed_is_none_of_its_list(
    key: OrderKey, wanted: OrderFilter, place: int, character: str, *, newest_first: bool
) -> None:
    text = Cursor.of(key, wanted, newest_first=newest_first).encode()
    assume(character != text[place])

    try:
        cursor = Cursor.decode(text[:place] + character + text[place + 1 :])
    except ValueError:
        return
    assert cursor != Cursor.of(cursor.key, wanted, newest_first=newest_first)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused(text: str) -> None:
    assume(len(text) != CURSOR_LENGTH)

    with pytest.raises(ValueError, match="is not a cursor"):
        Cursor.decode(text)


@pytest.mark.parametrize("moment", [2**63 - 1, -(2**63), 253_402_300_800_000_000])
def test_a_moment_that_no_calendar_has_is_refused(moment: int) -> None:
    packed = moment.to_bytes(8, signed=True) + bytes(25)

    with pytest.raises(ValueError, match="is not a cursor"):
        Cursor.decode(base64.urlsafe_b64encode(packed).decode())


def test_there_is_one_way_only_to_write_a_cursor() -> None:
    packed = bytes(8) + b"\xff" + b"\xfb\xef\xbe" * 8
    text = base64.urlsafe_b64encode(packed).decode()
    assert Cursor.decode(text).encode() == text

    for other in (text.replace("-", "+"), text.replace("_", "/"), f"{text}=", f"{text}====", f"{text}\n"):
        assert other != text
        with pytest.raises(ValueError, match="is not a cursor"):
            Cursor.decode(other)


@pytest.mark.parametrize(
    "other",
    [
        OrderFilter(),
        replace(SOME, statuses=()),
        replace(SOME, statuses=(OrderStatus.PENDING,)),
        replace(SOME, customer_id=None),
        replace(SOME, customer_id="bob"),
        replace(SOME, created_after=None),
        replace(SOME, created_after=SOME.created_before, created_before=SOME.created_after),
        replace(SOME, created_before=None),
        replace(SOME, created_before=NOON.replace(hour=14)),
    ],
)
@given(key=keys)
def test_the_same_order_has_another_cursor_in_every_other_list(key: OrderKey, other: OrderFilter) -> None:
    cursors = {
        Cursor.of(key, wanted, newest_first=newest_first)
        for wanted in (SOME, other)
        for newest_first in (True, False)
    }

    assert len(cursors) == 4


@given(key=keys)
def test_the_order_in_which_statuses_are_named_makes_no_other_list(key: OrderKey) -> None:
    turned = replace(SOME, statuses=SOME.statuses[::-1])

    assert Cursor.of(key, SOME, newest_first=True) == Cursor.of(key, turned, newest_first=True)
