import base64
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import Cursor
from orders.order import OrderKey

NOON = "2026-07-01T12:00:00+00:00"
SOMEBODY = "0190c7b2-6f00-7000-8000-000000000001"

cursors = st.builds(
    Cursor,
    key=st.builds(OrderKey, created_at=st.datetimes(timezones=st.just(UTC)), order_id=st.uuids()),
    newest_first=st.booleans(),
)


@given(cursors)
def test_a_cursor_comes_back_as_it_went(cursor: Cursor) -> None:
    assert Cursor.decode(cursor.encode()) == cursor


@given(cursors)
def test_a_cursor_needs_no_escaping_in_a_url_and_fits_its_limit(cursor: Cursor) -> None:
    encoded = cursor.encode()

    assert set(encoded) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(encoded) <= 200


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor of this list"):
        Cursor.decode(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{NOON}|{SOMEBODY}",
        f"x{NOON}|{SOMEBODY}",
        f"-{NOON}",
        f"-{NOON}|",
        f"-{NOON}|1",
        f"-|{SOMEBODY}",
        f"-2026-07-01T12:00:00|{SOMEBODY}",
        f"-0001-01-01T00:00:00+23:59|{SOMEBODY}",
    ],
)
def test_a_cursor_that_was_tampered_with_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor of this list"):
        Cursor.decode(base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))
