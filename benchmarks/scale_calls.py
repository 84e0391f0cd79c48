"""What `benchmarks.scale` asks: the calls of the API, the query behind each, and how PostgreSQL runs that."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.listing import ListQuery
from benchmarks.fill import BIGGEST_CUSTOMER, CUSTOMER_WITHOUT_ORDERS, LAST, SPAN
from database import audit, queries
from orders.order import Order, OrderKey
from orders.status import OrderStatus

PENDING, PROCESSING, SHIPPED, DELIVERED, _ = OrderStatus

LIMIT = 50
SAMPLE = 1_000
"""How many orders are read one by one, in turn."""
SMALL = 10
"""How many orders the small customer has, or about so many."""
RUNS_TO_SETTLE = 8
"""After five runs PostgreSQL decides whether it plans a prepared statement once for all parameters."""

ONE, BY_CURSOR, BY_PAGE = "One order", "By cursor", "By page, with the exact total"

Query = Callable[[AsyncEngine], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of the API: its addresses, taken in turn, what its answer holds, and the query behind it."""

    kind: str
    name: str
    paths: tuple[str, ...]
    query: Query
    answer: Mapping[str, object] = field(default_factory=dict)


async def calls_of(engine: AsyncEngine) -> list[Call]:
    """Every call that is measured, on the orders that there are."""
    month = {"created_after": LAST - SPAN / 2, "created_before": LAST - SPAN / 2 + SPAN / 24}
    biggest = {"customer_id": BIGGEST_CUSTOMER}
    small = {"customer_id": await _small_customer(engine)}
    delivered, pending = {"status": [DELIVERED]}, {"status": [PENDING]}
    calls = await _single(engine)
    for name, filters, is_long in (
        ("all orders", {}, True),
        ("DELIVERED (most)", delivered, True),
        ("PENDING (few)", pending, False),
        ("PENDING, PROCESSING, SHIPPED", {"status": [PENDING, PROCESSING, SHIPPED]}, False),
        ("a month", month, True),
        ("a month, DELIVERED", month | delivered, False),
        ("the biggest customer", biggest, True),
        ("the biggest customer, a month", biggest | month, False),
        ("the biggest customer, DELIVERED", biggest | delivered, False),
        ("the biggest customer, PENDING", biggest | pending, False),
        ("a small customer", small, False),
        ("a customer without orders", {"customer_id": CUSTOMER_WITHOUT_ORDERS}, False),
    ):
        asked = ListQuery.model_validate(filters)
        _, total = await queries.list_numbered(engine, asked.wanted, limit=1, offset=0)
        calls += await _by_cursor(engine, name, asked, total)
        calls += _by_page(name, asked, total, is_long=is_long)
    return calls


async def _small_customer(engine: AsyncEngine) -> str:
    statement = f"SELECT customer_id FROM orders GROUP BY 1 ORDER BY abs(count(*) - {SMALL}), 1 LIMIT 1"  # noqa: S608
    async with engine.connect() as connection:
        return str((await connection.execute(text(statement))).scalar_one())


async def _single(engine: AsyncEngine) -> list[Call]:
    """Orders from all over the table, by id."""
    statement = f"SELECT id FROM orders ORDER BY md5(id::text) LIMIT {SAMPLE}"  # noqa: S608
    async with engine.connect() as connection:
        ids = list((await connection.execute(text(statement))).scalars())
    return [
        Call(
            kind=ONE,
            name="by id",
            paths=tuple(f"/orders/{order_id}" for order_id in ids),
            query=partial(queries.get_order, order_id=ids[0]),
        ),
        Call(
            kind=ONE,
            name="its history",
            paths=tuple(f"/orders/{order_id}/history" for order_id in ids),
            query=partial(queries.get_history, order_id=ids[0]),
        ),
    ]


async def _by_cursor(engine: AsyncEngine, name: str, asked: ListQuery, total: int) -> list[Call]:
    """The page after the newest order of the list, and the one that ends with its oldest."""
    whole = queries.OrderFilter() if total == 0 else asked.wanted
    newest = await queries.list_orders(engine, whole, limit=1)
    oldest = await queries.list_orders(engine, whole, limit=LIMIT + 1, newest_first=False)
    found = max(0, total - 1)
    return [
        Call(
            kind=BY_CURSOR,
            name=f"{name}: {place} page",
            paths=(asked.reference(cursor=asked.cursor_after(key).encode()),),
            # The API asks for one more, to know whether there is a next page.
            query=partial(queries.list_orders, wanted=asked.wanted, limit=LIMIT + 1, after=key),
            answer={"orders": min(found, LIMIT), "has_next": has_next},
        )
        for place, key, has_next in (
            ("first", _key(newest[0]), found > LIMIT),
            ("last", _key(oldest[-1]), False),
        )
    ]


def _by_page(name: str, asked: ListQuery, total: int, *, is_long: bool) -> list[Call]:
    last = max(1, -(-total // LIMIT))
    pages = {"first": 1, "middle": max(1, last // 2), "last": last} if is_long else {"first": 1}
    return [
        Call(
            kind=BY_PAGE,
            name=f"{name}: {place} page",
            paths=(asked.reference(page=number),),
            query=partial(
                queries.list_numbered, wanted=asked.wanted, limit=LIMIT, offset=(number - 1) * LIMIT
            ),
            answer={"total": total, "page": number, "has_next": number < last},
        )
        for place, number in pages.items()
    ]


def _key(order: Order) -> OrderKey:
    return OrderKey(created_at=order.created_at, order_id=order.id)


async def plans_of(engine: AsyncEngine, calls: list[Call]) -> dict[str, str]:
    """How PostgreSQL runs every statement of the calls and, unmeasured, of the promotion and the doctor.

    By name: the statements, each with its plan. The engine has a single connection, so that each statement
    has been run often enough for PostgreSQL to plan it as it does in the API.
    """
    newest = await queries.list_orders(engine, queries.OrderFilter(), limit=1)
    middle = (
        await queries.list_orders(engine, queries.OrderFilter(created_before=LAST - SPAN / 2), limit=1)
        or newest
    )
    others: dict[str, Query] = {
        "Promotion: first page": partial(queries.list_pending_keys, placed_before=LAST, limit=500),
        "Promotion: next page": partial(
            queries.list_pending_keys, placed_before=LAST, after=_key(newest[0]), limit=500
        ),
        "Doctor: a page of everything": partial(audit.read_page, after=_key(middle[0]), limit=500),
    }
    asked = {f"{call.kind}: {call.name}": call.query for call in calls} | others
    return {name: await _plans_of(engine, query) for name, query in asked.items()}


async def _plans_of(engine: AsyncEngine, query: Query) -> str:
    with _statements_of(engine) as sent:
        await query(engine)
    for _ in range(RUNS_TO_SETTLE):
        await query(engine)
    async with engine.connect() as connection:
        return "\n\n".join([await _plan_of(connection, *statement) for statement in sent])


@contextmanager
def _statements_of(engine: AsyncEngine) -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    """Every statement that the block sends to PostgreSQL, with its parameters."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:  # noqa: ANN401
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def _plan_of(connection: AsyncConnection, statement: str, parameters: tuple[object, ...]) -> str:
    """The statement and its plan: of the prepared one, because that may be a plan for any parameters."""
    name, _ = await _prepared(connection, statement)
    literals = ", ".join(_literal(value) for value in parameters)
    explained = await connection.exec_driver_sql(
        f'EXPLAIN (ANALYZE, BUFFERS) EXECUTE "{name}"' + (f"({literals})" if literals else "")
    )
    plan = list(explained.scalars())
    _, is_generic = await _prepared(connection, statement)
    planned = "once, for any parameters" if is_generic else "for these parameters"
    return "\n".join([statement, f"-- with ({literals}); planned {planned}", "", *plan])


async def _prepared(connection: AsyncConnection, statement: str) -> tuple[str, bool]:
    """The name of a prepared statement, and whether PostgreSQL has a plan of it for any parameters."""
    known = text("SELECT name, generic_plans > 0 FROM pg_prepared_statements WHERE statement = :statement")
    [[name, is_generic]] = await connection.execute(known, {"statement": statement})
    return name, is_generic


def _literal(value: object) -> str:
    """A parameter as SQL; PostgreSQL gives it the type that the statement was prepared with."""
    return "'{}'".format(str(value).replace("'", "''"))
