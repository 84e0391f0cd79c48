"""Lists of orders: what a client may ask for, the page that answers it, and the links to its neighbours."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlencode

from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cursors import CURSOR_LENGTH, Cursor
from api.schemas import Identifier, OrderPage, OrderView
from database import queries
from database.queries import OrderFilter
from orders.order import Order, OrderKey
from orders.status import OrderStatus

LAST_PAGE_NUMBER = 1_000_000

# RFC 3339, to the microsecond: what PostgreSQL keeps, so that no comparison is of a rounded time.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DIGITS = re.compile("[0-9]+")


def _rfc_3339(value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
    """Let through no number, which Pydantic would take for Unix time, and no time without a zone."""
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError(
            "must be a time of RFC 3339 with a zone and at most 6 decimals, such as 2026-01-31T09:30:00Z "
            "(in an address, + is written %2B)"
        )
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def _plain_digits(value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
    """Let through no blank, sign, decimal point or underscore, which Pydantic would overlook."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number in digits")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]
# The limits stand before the validator, or OpenAPI would not show them.
PageNumber = Annotated[int, Field(ge=1, le=LAST_PAGE_NUMBER), BeforeValidator(_plain_digits)]
PageSize = Annotated[int, Field(ge=1, le=1_000), BeforeValidator(_plain_digits)]


class ListQuery(BaseModel):
    """Which orders, in which order, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    # No more than there are: the links to other pages repeat them all.
    status: Annotated[
        list[OrderStatus], Field(max_length=len(OrderStatus), description="One or several.")
    ] = []
    customer_id: Identifier | None = None
    created_after: Annotated[Moment | None, Field(description="Inclusive.")] = None
    created_before: Annotated[Moment | None, Field(description="Exclusive.")] = None
    sort: Annotated[Literal["-created_at", "created_at"], Field(description="`-` is newest first.")] = (
        "-created_at"
    )
    page: Annotated[PageNumber | None, Field(description="The first is 1.")] = None
    limit: Annotated[PageSize, Field(description="Up to 50 of the largest orders fit on a page.")] = 50
    cursor: Annotated[
        str | None,
        Field(
            max_length=CURSOR_LENGTH,
            json_schema_extra={"pattern": f"^[A-Za-z0-9_-]{{{CURSOR_LENGTH}}}$"},
            description="A `next_cursor` of the same filters and sort; `limit` may be another.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_way_to_page(self) -> Self:
        if self.cursor is not None and self.page is not None:
            raise ValueError("page and cursor exclude each other")
        return self

    @property
    def newest_first(self) -> bool:
        """Whether the newest order comes first."""
        return self.sort == "-created_at"

    @property
    def wanted(self) -> OrderFilter:
        """The filter for the projection."""
        return OrderFilter(
            statuses=tuple(dict.fromkeys(self.status)),
            customer_id=self.customer_id,
            created_after=self.created_after,
            created_before=self.created_before,
        )

    def cursor_after(self, key: OrderKey) -> Cursor:
        """The cursor for what follows the key in this list."""
        return Cursor.of(key, self.wanted, newest_first=self.newest_first)

    def reference(self, **position: int | str) -> str:
        """The address, relative to the API's, of another page of this list."""
        asked = self.model_dump(mode="json", exclude_unset=True, exclude={"page", "cursor"})
        return f"/orders/?{urlencode(asked | position, doseq=True, quote_via=quote)}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A page, and the references to others of its list by their relation to it (RFC 8288)."""

    page: OrderPage
    references: dict[str, str]

    @property
    def link(self) -> str:
        """The value of the header `Link`."""
        return ", ".join(f'<{reference}>; rel="{name}"' for name, reference in self.references.items())


async def read_listing(query: ListQuery, engine: AsyncEngine) -> Listing:
    """The page that the query asks for, by number or after a cursor.

    Raises:
        RequestValidationError: the cursor is not one of this list, or the page has too many lines.
    """
    try:
        if query.cursor is not None:
            return await _after_cursor(query, query.cursor, engine)
        return await _numbered(query, engine)
    except queries.TooManyLines:
        raise _refusal("limit", _TOO_LARGE) from None


async def _numbered(query: ListQuery, engine: AsyncEngine) -> Listing:
    number = query.page or 1
    offset = (number - 1) * query.limit
    found, total = await queries.list_numbered(
        engine, query.wanted, limit=query.limit, offset=offset, newest_first=query.newest_first
    )
    page = _page(query, found, has_next=offset + len(found) < total, has_prev=number > 1)
    page = page.model_copy(update={"total": total, "page": number})
    return Listing(page=page, references=neighbours(query, number, total, page.next_cursor))


def neighbours(query: ListQuery, number: int, total: int, next_cursor: str | None) -> dict[str, str]:
    """The references from a numbered page; from one beyond the last, `prev` leads to the last."""
    last = max(1, -(-total // query.limit))
    references = {"first": query.reference(page=1)}
    if number > 1:
        references["prev"] = query.reference(page=min(number - 1, last))
    if number < min(last, LAST_PAGE_NUMBER):
        references["next"] = query.reference(page=number + 1)
    elif number < last and next_cursor is not None:
        # No number leads on, a cursor does.
        references["next"] = query.reference(cursor=next_cursor)
    if last <= LAST_PAGE_NUMBER:
        references["last"] = query.reference(page=last)
    return references


async def _after_cursor(query: ListQuery, text: str, engine: AsyncEngine) -> Listing:
    try:
        found = await queries.list_orders(
            engine,
            query.wanted,
            limit=query.limit + 1,
            after=_key(query, text),
            newest_first=query.newest_first,
        )
    except queries.UnknownKey:
        raise _refusal("cursor", _NO_CURSOR) from None
    page = _page(query, found[: query.limit], has_next=len(found) > query.limit, has_prev=True)
    references = {"first": query.reference(page=1)}
    if page.next_cursor is not None:
        references["next"] = query.reference(cursor=page.next_cursor)
    return Listing(page=page, references=references)


_NO_CURSOR = "is not a cursor of this list"
_TOO_LARGE = f"the orders of this page have more than {queries.MOST_LINES} lines; ask for fewer at once"
_CURSOR_OF_ANOTHER_LIST = "belongs to a list with other filters or another sort, or has been changed"


def _key(query: ListQuery, text: str) -> OrderKey:
    """The key that a cursor of this list holds."""
    try:
        cursor = Cursor.decode(text)
    except ValueError:
        raise _refusal("cursor", _NO_CURSOR) from None
    if cursor != query.cursor_after(cursor.key):
        raise _refusal("cursor", _CURSOR_OF_ANOTHER_LIST)
    return cursor.key


def _refusal(name: str, reason: str) -> RequestValidationError:
    return RequestValidationError([{"type": name, "loc": ("query", name), "msg": reason}])


def _page(query: ListQuery, orders: list[Order], *, has_next: bool, has_prev: bool) -> OrderPage:
    next_cursor = None
    if has_next and orders:
        last = OrderKey(created_at=orders[-1].created_at, order_id=orders[-1].id)
        next_cursor = query.cursor_after(last).encode()
    return OrderPage(
        orders=[OrderView.of(order) for order in orders],
        limit=query.limit,
        has_next=has_next,
        has_prev=has_prev,
        next_cursor=next_cursor,
    )
