"""Which texts an order may carry: bounded, and free of characters that no store or log can hold."""

import unicodedata

from orders.errors import InvalidValue

MAX_IDENTIFIER_LENGTH = 255
# Temporal takes 2,048 bytes of a search attribute, as ASCII JSON, which may be three times its UTF-8.
MAX_IDENTIFIER_BYTES = 600
MAX_REASON_LENGTH = 1_000

# PostgreSQL refuses NUL, UTF-8 has no lone surrogates, and a line break in an identifier forges log lines.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def check_identifier(place: str, value: str) -> None:
    """Refuse a name of somebody or something that is blank, too long or unprintable.

    Raises:
        InvalidValue: naming `place`.
    """
    if not value.strip():
        raise InvalidValue(place, "must not be blank")
    _check(place, value, MAX_IDENTIFIER_LENGTH)
    if len(value.encode()) > MAX_IDENTIFIER_BYTES:
        raise InvalidValue(place, f"must have at most {MAX_IDENTIFIER_BYTES} bytes in UTF-8")


def check_reason(place: str, value: str | None) -> None:
    """Refuse a free text that is too long or unprintable; None and the empty text are fine.

    Raises:
        InvalidValue: naming `place`.
    """
    if value is not None:
        _check(place, value, MAX_REASON_LENGTH)


def _check(place: str, value: str, max_length: int) -> None:
    if len(value) > max_length:
        raise InvalidValue(place, f"must have at most {max_length} characters")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise InvalidValue(place, "must not contain control characters")
