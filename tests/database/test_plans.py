"""How PostgreSQL runs each statement of the queries on well-filled tables: along an index, always."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from database import audit, queries
from database.queries import OrderFilter
from orders.order import OrderKey
from orders.status import OrderStatus

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

ORDERS = 100_000
CUSTOMERS = 100
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ID = "00000000-0000-4000-8000-"

# Four orders a minute, in two lines each, as in a shop that keeps up: what is not over was placed lately,
# so that whoever seeks the oldest of it must not walk through everything that is older.
FILL = f"""
INSERT INTO orders (id, customer_id, status, currency, total_amount, version, created_at, updated_at)
    SELECT ('{ID}' || lpad(to_hex(n), 12, '0'))::uuid, 'customer-' || n % {CUSTOMERS},
           CASE WHEN n % 20 = 0 THEN 'CANCELLED' WHEN n > {ORDERS} - 1000 THEN 'PENDING'
               WHEN n > {ORDERS} - 3000 THEN 'PROCESSING' WHEN n > {ORDERS} - 6000 THEN 'SHIPPED'
               ELSE 'DELIVERED' END,
           'USD', 10, 1, '{FIRST}'::timestamptz + n / 4 * interval '1 minute', '{FIRST}'
    FROM generate_series(1, {ORDERS}) AS n;
INSERT INTO order_items (id, order_id, position, product_id, quantity, unit_price)
    SELECT md5(line || 'item' || n)::uuid, ('{ID}' || lpad(to_hex(n), 12, '0'))::uuid, line, 'mouse', 1, 5
    FROM generate_series(1, {ORDERS}) AS n, generate_series(0, 1) AS line;
INSERT INTO order_status_history (id, order_id, version, new_status, changed_at, changed_by, command_id)
    SELECT md5('version' || n)::uuid, ('{ID}' || lpad(to_hex(n), 12, '0'))::uuid, 1, 'PENDING', '{FIRST}',
           'api', n
    FROM generate_series(1, {ORDERS}) AS n;
VACUUM ANALYZE orders, order_items, order_status_history
"""  # noqa: S608 - our own constants


@pytest.fixture(scope="module", autouse=True)
async def filled(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        for statement in FILL.split(";"):
            await connection.exec_driver_sql(statement)


Call = Callable[[AsyncEngine], Awaitable[object]]
Step = dict[str, Any]


def order_id(number: int) -> UUID:
    return UUID(f"{ID}{number:012x}")


def key(number: int) -> OrderKey:
    return OrderKey(created_at=FIRST + number // 4 * timedelta(minutes=1), order_id=order_id(number))


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


async def plans_of(engine: AsyncEngine, call: Call) -> list[Step]:
    """The plan of each statement that the call sends, with what came of it when it was carried out."""
    with statements_of(engine) as sent:
        await call(engine)
    plans = []
    async with engine.connect() as connection:
        for statement, parameters in sent:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters
            )
            found = explained.scalar_one()
            [plan] = found if isinstance(found, list) else json.loads(found)
            plans.append(plan["Plan"])
    return plans


async def steps_of(engine: AsyncEngine, call: Call) -> list[Step]:
    """Every step of every plan."""
    return [step for plan in await plans_of(engine, call) for step in steps_below(plan)]


def steps_below(plan: Step) -> Iterator[Step]:
    yield plan
    for step in plan.get("Plans", ()):
        yield from steps_below(step)


def rows_of(step: Step) -> int:
    rows: int = round(step["Actual Rows"] * step["Actual Loops"])
    return rows


def rows_read(steps: list[Step], table: str) -> int:
    """How many rows of a table the plan looked at, those that it then left out included."""
    return sum(
        rows_of(step) + round(step.get("Rows Removed by Filter", 0) * step["Actual Loops"])
        for step in steps
        if step.get("Relation Name") == table
    )


EARLY, LATELY = key(5_000).created_at, key(ORDERS - 500).created_at
BETWEEN = OrderFilter(created_after=EARLY, created_before=LATELY)
# Every one of these is a stretch of one index, or a few such.
STRETCHES = {
    "all": OrderFilter(),
    "of a status": OrderFilter(statuses=(DELIVERED,)),
    "of a rare status": OrderFilter(statuses=(PENDING,)),
    "of several statuses": OrderFilter(statuses=(PENDING, SHIPPED, CANCELLED)),
    "of rare statuses": OrderFilter(statuses=(PENDING, PROCESSING)),
    "of a customer": OrderFilter(customer_id="customer-7"),
    "after a time": OrderFilter(created_after=EARLY),
    "before a time": OrderFilter(created_before=LATELY),
    "between times": BETWEEN,
    "of a status between times": replace(BETWEEN, statuses=(DELIVERED,)),
    "of several statuses between times": replace(BETWEEN, statuses=(PENDING, DELIVERED)),
    "of a customer between times": replace(BETWEEN, customer_id="customer-7"),
    "of a customer and a status": OrderFilter(customer_id="customer-7", statuses=(DELIVERED,)),
    "of a customer and statuses": OrderFilter(customer_id="customer-7", statuses=(PENDING, SHIPPED)),
    "of everything": replace(BETWEEN, customer_id="customer-7", statuses=(SHIPPED, DELIVERED)),
}
LIMIT = 50
DEEP = 80_000


def lists(filters: Mapping[str, OrderFilter], page: str, **options: Any) -> dict[str, Call]:  # noqa: ANN401
    """The lists of each filter in both directions, by name."""
    read = queries.list_numbered if "offset" in options else queries.list_orders
    return {
        f"{page} of orders {name}, {'newest' if newest_first else 'oldest'} first": partial(
            read, wanted=wanted, limit=LIMIT, newest_first=newest_first, **options
        )
        for (name, wanted), newest_first in product(filters.items(), (True, False))
    }


def cursor_pages(filters: Mapping[str, OrderFilter]) -> dict[str, Call]:
    """From either end, so that each key is near the start of one list and near the end of the other."""
    return {
        **lists(filters, "page after the middle", after=key(ORDERS // 2)),
        **lists(filters, "page after an early key", after=key(30)),
        **lists(filters, "page after a late key", after=key(ORDERS - 30)),
    }


def a_sweep(name: str, **options: Any) -> dict[str, Call]:  # noqa: ANN401
    return {
        f"pending keys, {name}": partial(
            queries.list_pending_keys, placed_before=key(ORDERS).created_at, **options
        )
    }


LATE = key(ORDERS - 800)
NEXT_SWEEPS = {
    **a_sweep("next page", limit=500, after=LATE),
    **a_sweep("retried page", after=LATE, until=key(ORDERS - 400)),
}
SWEEPS = {**a_sweep("first page", limit=500), **NEXT_SWEEPS}
FIRST_PAGES = lists(STRETCHES, "first page")
AFTER_CURSORS = cursor_pages(STRETCHES)
SINGLE: dict[str, Call] = {
    "order": partial(queries.get_order, order_id=order_id(7)),
    "history": partial(queries.get_history, order_id=order_id(7)),
    "record": partial(queries.get_record, order_id=order_id(7)),
    "later changes": partial(queries.get_history, order_id=order_id(7), after=1),
    "audited page": partial(audit.read_page, after=key(ORDERS // 2), limit=LIMIT),
    "audited orders": partial(audit.read_rows, order_ids=[order_id(number) for number in range(20)]),
    "batch": partial(queries.count_pending, order_ids=[order_id(number) for number in range(20)]),
}
LONG = (
    "all",
    "of a status",
    "after a time",
    "before a time",
    "between times",
    "of several statuses between times",
)
NUMBERED = {
    **lists(STRETCHES, "later page", offset=20),
    **lists({name: STRETCHES[name] for name in LONG}, "deep page", offset=DEEP),
}
UNCOUNTED = {**FIRST_PAGES, **AFTER_CURSORS, **SWEEPS, **SINGLE}


def named(calls: Mapping[str, Call]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls.values(), ids=calls)


def check_walked(steps: list[Step]) -> None:
    """Fail where a whole table is read, or anything is sorted but the lines of the page."""
    assert [step["Relation Name"] for step in steps if step["Node Type"] == "Seq Scan"] == []
    assert [step["Index Name"] for step in steps if "Index Name" in step] != []
    sorts = [step for step in steps if step["Node Type"] in {"Sort", "Incremental Sort"}]
    assert [rows_of(step["Plans"][0]) for step in sorts if rows_of(step["Plans"][0]) > 2 * LIMIT] == []


@named(UNCOUNTED)
async def test_no_statement_reads_a_whole_table_or_sorts_more_than_its_page(
    engine: AsyncEngine, call: Call
) -> None:
    check_walked(await steps_of(engine, call))


@named(NUMBERED)
async def test_a_numbered_page_is_walked_to_and_only_its_number_is_counted(
    engine: AsyncEngine, call: Call
) -> None:
    # The exact number of orders takes a look at each of them: PostgreSQL keeps no such number, and counts
    # a long list fastest by reading the whole table.
    count, page = await plans_of(engine, call)

    assert "Aggregate" in {step["Node Type"] for step in steps_below(count)}
    check_walked(list(steps_below(page)))


@named({**FIRST_PAGES, **AFTER_CURSORS})
async def test_a_page_costs_the_same_wherever_it_lies_and_whatever_it_is_narrowed_to(
    engine: AsyncEngine, call: Call
) -> None:
    steps = await steps_of(engine, call)

    # What is merged is read as it is needed; and the cursor's own order.
    assert rows_read(steps, "orders") <= 3 * LIMIT + 1
    assert rows_read(steps, "order_items") <= 2 * LIMIT


@named({**AFTER_CURSORS, **NEXT_SWEEPS})
async def test_a_cursor_is_found_in_the_index_and_not_by_reading_up_to_it(
    engine: AsyncEngine, call: Call
) -> None:
    steps = await steps_of(engine, call)

    assert [step["Index Cond"] for step in steps if "ROW(" in step.get("Index Cond", "")] != []
    assert [step["Filter"] for step in steps if "ROW(" in step.get("Filter", "")] == []


async def test_a_cursors_own_order_is_looked_up_by_its_key(engine: AsyncEngine) -> None:
    call = partial(queries.list_orders, wanted=OrderFilter(), limit=LIMIT, after=key(ORDERS // 2))

    check, _page = await plans_of(engine, call)

    [scan] = [step for step in steps_below(check) if step.get("Relation Name") == "orders"]
    assert scan["Index Name"] in {"pk_orders", "ix_orders_created_at_id"}
    assert rows_read([scan], "orders") == 1
