"""Lists of orders: what a client may ask for, and the page that answers it."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cursors import Cursor
from api.schemas import Identifier, OrderPage, OrderView
from database import queries
from database.queries import OrderFilter
from orders.order import Order, OrderKey
from orders.status import OrderStatus


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class ListQuery(BaseModel):
    """Which orders, in which order, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[list[OrderStatus], Field(description="One or several.")] = []
    customer_id: Identifier | None = None
    created_after: Annotated[Moment | None, Field(description="Inclusive.")] = None
    created_before: Annotated[Moment | None, Field(description="Exclusive.")] = None
    sort: Annotated[str, Field(pattern="^-?created_at$", description="`-` is newest first.")] = "-created_at"
    page: Annotated[int | None, Field(ge=1, le=1_000_000, description="The first is 1.")] = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    cursor: Annotated[str | None, Field(max_length=200, description="A `next_cursor`.")] = None

    @model_validator(mode="after")
    def _one_way_to_page(self) -> Self:
        if self.cursor is not None and self.page is not None:
            raise ValueError("page and cursor exclude each other")
        if self.cursor is not None and self.position.newest_first is not self.newest_first:
            raise ValueError("cursor belongs to the other sort")
        return self

    @property
    def newest_first(self) -> bool:
        """Whether the newest order comes first."""
        return self.sort.startswith("-")

    @property
    def position(self) -> Cursor:
        """Where the cursor points; only with a cursor."""
        return Cursor.decode(self.cursor or "")

    @property
    def wanted(self) -> OrderFilter:
        """The filter for the projection."""
        return OrderFilter(
            statuses=tuple(dict.fromkeys(self.status)),
            customer_id=self.customer_id,
            created_after=self.created_after,
            created_before=self.created_before,
        )


async def read_page(query: ListQuery, engine: AsyncEngine) -> OrderPage:
    """The page that the query asks for, by number or after a cursor."""
    if query.cursor is not None:
        return await _page_after_cursor(query, engine)
    return await _numbered_page(query, engine)


async def _numbered_page(query: ListQuery, engine: AsyncEngine) -> OrderPage:
    number = query.page or 1
    offset = (number - 1) * query.limit
    total = await queries.count_orders(engine, query.wanted)
    orders = await queries.list_orders(
        engine, query.wanted, limit=query.limit, offset=offset, newest_first=query.newest_first
    )
    page = _page(query, orders, has_next=offset + len(orders) < total, has_prev=number > 1)
    return page.model_copy(update={"total": total, "page": number})


async def _page_after_cursor(query: ListQuery, engine: AsyncEngine) -> OrderPage:
    found = await queries.list_orders(
        engine,
        query.wanted,
        limit=query.limit + 1,
        after=query.position.key,
        newest_first=query.newest_first,
    )
    return _page(query, found[: query.limit], has_next=len(found) > query.limit, has_prev=True)


def _page(query: ListQuery, orders: list[Order], *, has_next: bool, has_prev: bool) -> OrderPage:
    return OrderPage(
        orders=[OrderView.of(order) for order in orders],
        limit=query.limit,
        has_next=has_next,
        has_prev=has_prev,
        next_cursor=_next_cursor(orders, query) if has_next else None,
    )


def _next_cursor(orders: list[Order], query: ListQuery) -> str | None:
    if not orders:
        return None
    last = orders[-1]
    key = OrderKey(created_at=last.created_at, order_id=last.id)
    return Cursor(key=key, newest_first=query.newest_first).encode()
