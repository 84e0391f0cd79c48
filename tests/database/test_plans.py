"""How PostgreSQL runs each statement of the queries on well-filled tables: along an index, always."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from database import queries
from database.queries import OrderFilter
from orders.order import OrderKey
from orders.status import OrderStatus

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

ORDERS = 60_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

# An order a minute, for a hundred customers and in two lines each; most are DELIVERED, as in a shop that
# keeps up, and the PENDING ones lie everywhere.
FILL = f"""
INSERT INTO orders
    SELECT md5('order' || n)::uuid, 'customer-' || n % 100,
           CASE n % 20 WHEN 0 THEN 'PENDING' WHEN 1 THEN 'PROCESSING' WHEN 2 THEN 'SHIPPED'
               WHEN 3 THEN 'CANCELLED' ELSE 'DELIVERED' END,
           'USD', 10, 1, '{FIRST}'::timestamptz + n * interval '1 minute', '{FIRST}'
    FROM generate_series(1, {ORDERS}) AS n;
INSERT INTO order_items
    SELECT md5(line || 'item' || n)::uuid, md5('order' || n)::uuid, line, 'mouse', 1, 5
    FROM generate_series(1, {ORDERS}) AS n, generate_series(0, 1) AS line;
INSERT INTO order_status_history
    SELECT md5('version' || n)::uuid, md5('order' || n)::uuid, 1, NULL, 'PENDING', '{FIRST}', 'api', NULL, n
    FROM generate_series(1, {ORDERS}) AS n;
VACUUM ANALYZE
"""  # noqa: S608 - our own constants


@pytest.fixture(scope="module", autouse=True)
async def filled(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        for statement in FILL.split(";"):
            await connection.exec_driver_sql(statement)


Call = Callable[[AsyncEngine], Awaitable[object]]
Plan = dict[str, Any]

AN_ORDER = UUID("00000000-0000-4000-8000-000000000000")
MIDDLE = OrderKey(created_at=FIRST + timedelta(minutes=ORDERS // 2), order_id=AN_ORDER)
LATE = OrderKey(created_at=FIRST + timedelta(minutes=ORDERS - 10_000), order_id=AN_ORDER)
END = FIRST + timedelta(minutes=ORDERS)


@contextmanager
def statements_of(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the block sends to PostgreSQL, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:  # noqa: ANN401
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def plan_steps(engine: AsyncEngine, call: Call) -> list[Plan]:
    """Every step of the plans of the statements that the call sends."""
    with statements_of(engine) as sent:
        await call(engine)
    steps: list[Plan] = []
    async with engine.connect() as connection:
        for statement, parameters in sent:
            explained = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            found = explained.scalar_one()
            plan = found if isinstance(found, list) else json.loads(found)
            steps += steps_below(plan[0]["Plan"])
    return steps


def steps_below(plan: Plan) -> Iterator[Plan]:
    yield plan
    for step in plan.get("Plans", ()):
        yield from steps_below(step)


# Each of these has an index of its own, or shares one with its neighbour.
SIMPLE = {
    "all": OrderFilter(),
    "of a status": OrderFilter(statuses=(PENDING,)),
    "of a customer": OrderFilter(customer_id="customer-7"),
    "after a time": OrderFilter(created_after=FIRST),
    "before a time": OrderFilter(created_before=END),
}
COMBINED = {
    "of two statuses": OrderFilter(statuses=(PENDING, SHIPPED)),
    "of a customer and a status": OrderFilter(customer_id="customer-7", statuses=(DELIVERED,)),
    "of everything": OrderFilter(
        statuses=(PENDING, DELIVERED), customer_id="customer-7", created_after=FIRST, created_before=END
    ),
}
FIRST_PAGE: Mapping[str, Any] = {"limit": 50}
NEXT_PAGE: Mapping[str, Any] = {"limit": 50, "after": MIDDLE}
THIRD_PAGE: Mapping[str, Any] = {"limit": 50, "offset": 100}


def lists(filters: Mapping[str, OrderFilter], options: Mapping[str, Any]) -> dict[str, Call]:
    """The lists of each filter in both directions, by name."""
    return {
        f"orders {name}, {'newest' if newest_first else 'oldest'} first, {', '.join(options)}": partial(
            queries.list_orders, wanted=wanted, newest_first=newest_first, **options
        )
        for (name, wanted), newest_first in product(filters.items(), (True, False))
    }


def a_sweep(name: str, **options: Any) -> dict[str, Call]:  # noqa: ANN401
    return {f"pending keys, {name}": partial(queries.list_pending_keys, placed_before=END, **options)}


FIRST_SWEEP = a_sweep("first page", limit=500)
NEXT_SWEEP = a_sweep("next page", limit=500, after=MIDDLE)
RETRIED_SWEEP = a_sweep("retried page", after=MIDDLE, until=LATE)
BY_CURSOR = {**lists(SIMPLE | COMBINED, NEXT_PAGE), **NEXT_SWEEP, **RETRIED_SWEEP}
ALONG_ONE_INDEX = {
    **lists(SIMPLE, FIRST_PAGE),
    **lists(SIMPLE, NEXT_PAGE),
    **lists(SIMPLE, THIRD_PAGE),
    **FIRST_SWEEP,
    **NEXT_SWEEP,
}
EVERYTHING: dict[str, Call] = {
    "order": partial(queries.get_order, order_id=AN_ORDER),
    "history": partial(queries.get_history, order_id=AN_ORDER),
    "record": partial(queries.get_record, order_id=AN_ORDER),
    **{f"number {name}": partial(queries.count_orders, wanted=wanted) for name, wanted in COMBINED.items()},
    **lists(COMBINED, FIRST_PAGE),
    **lists(COMBINED, THIRD_PAGE),
    **BY_CURSOR,
    **ALONG_ONE_INDEX,
}


@pytest.mark.parametrize("call", EVERYTHING.values(), ids=EVERYTHING)
async def test_no_statement_reads_a_whole_table(engine: AsyncEngine, call: Call) -> None:
    steps = await plan_steps(engine, call)

    assert [step["Relation Name"] for step in steps if step["Node Type"] == "Seq Scan"] == []
    assert [step["Index Name"] for step in steps if "Index Name" in step] != []


@pytest.mark.parametrize("call", BY_CURSOR.values(), ids=BY_CURSOR)
async def test_a_cursor_is_found_in_the_index_and_not_by_reading_up_to_it(
    engine: AsyncEngine, call: Call
) -> None:
    steps = await plan_steps(engine, call)

    assert [step["Index Cond"] for step in steps if "ROW(" in step.get("Index Cond", "")] != []
    assert [step["Filter"] for step in steps if "ROW(" in step.get("Filter", "")] == []


@pytest.mark.parametrize("call", ALONG_ONE_INDEX.values(), ids=ALONG_ONE_INDEX)
async def test_a_page_is_read_off_its_index_without_sorting_or_skipping(
    engine: AsyncEngine, call: Call
) -> None:
    steps = await plan_steps(engine, call)

    [[page]] = [step["Plans"] for step in steps if step["Node Type"] == "Limit"]
    assert page["Node Type"] in {"Index Scan", "Index Only Scan"}
    assert "Filter" not in page
