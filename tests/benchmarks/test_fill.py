"""Filling a database: what is in it could have happened, and nothing that was there before is touched."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import reduce

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.fill import BIGGEST_CUSTOMER, CUSTOMER_WITHOUT_ORDERS, LAST, SPAN, Shop, parse
from database import audit, queries
from database.engine import create_engine
from database.projection import Rows, rows_of
from orders.commands import ChangeStatus, NewLineItem, PlaceOrder
from orders.lifecycle import apply, decide, place, validate
from orders.order import OrderRecord, StatusChange
from orders.status import OrderStatus
from settings import ROOT
from tests.conftest import Servers, settings_for
from tests.databases import EMPTY, a_database
from tests.processes import Run, run_to_its_end, started
from tests.system import eventually

FILL = ("-m", "benchmarks.fill")
ORDERS = 6_000  # more than one batch


async def number_of_orders(url: str) -> int:
    return int(await value_of(url, "SELECT count(*) FROM orders"))


async def value_of(url: str, query: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval(query)
    finally:
        await connection.close()
    return found


@pytest.fixture(scope="module")
async def filled(servers: Servers) -> AsyncIterator[str]:
    """The URL of a database that the command has filled."""
    async with a_database(servers.database_url) as url:
        code, log = await run_to_its_end(*FILL, "--orders", str(ORDERS), "--seed", "7", DATABASE_URL=url)
        assert code == 0
        assert log[-1].startswith("6,000 of 6,000 orders are there, after ")
        yield url


@pytest.fixture(scope="module")
async def engine(filled: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings_for(filled), application_name="tests-fill")
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def stored(engine: AsyncEngine) -> list[Rows]:
    """All that is stored, oldest order first."""
    return await audit.read_page(engine, after=None, limit=ORDERS + 1)


def folded(record: OrderRecord) -> OrderRecord:
    """What the domain makes of the commands that the record tells of."""
    placed, *changes = record.history
    command = PlaceOrder(
        order_id=record.order.id,
        customer_id=record.order.customer_id,
        items=tuple(
            NewLineItem(product_id=item.product_id, quantity=item.quantity, unit_price=item.unit_price)
            for item in record.order.items
        ),
        currency=record.order.currency,
        placed_by=placed.changed_by,
        request_id=placed.request_id,
    )
    validate(command)
    return reduce(carried_out, changes, place(command, placed.changed_at))


def carried_out(record: OrderRecord, change: StatusChange) -> OrderRecord:
    command = ChangeStatus(
        command_id=change.command_id,
        status=change.new_status,
        changed_by=change.changed_by,
        reason=change.reason,
        request_id=change.request_id,
    )
    return apply(record, decide(record, command, change.changed_at))


async def test_there_are_as_many_orders_as_asked_for_and_no_others(stored: list[Rows]) -> None:
    expected = [
        rows_of(record).order["id"]
        for numbers in (range(5_000), range(5_000, ORDERS))
        for record in Shop(ORDERS, seed=7).records(numbers)
    ]

    assert [rows.order["id"] for rows in stored] == expected
    assert len(expected) == ORDERS


async def test_every_order_is_what_its_commands_make_of_it(engine: AsyncEngine, stored: list[Rows]) -> None:
    for rows in stored[::7]:
        record = await queries.get_record(engine, rows.order["id"])

        assert record is not None
        assert record == folded(record)
        assert rows == rows_of(record)


async def test_most_orders_are_over_and_a_few_are_at_each_other_status(stored: list[Rows]) -> None:
    statuses = Counter(OrderStatus(rows.order["status"]) for rows in stored)

    assert statuses[OrderStatus.DELIVERED] > 0.85 * ORDERS
    assert 0.05 * ORDERS < statuses[OrderStatus.CANCELLED] < 0.12 * ORDERS
    for status in (OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.SHIPPED):
        assert 0 < statuses[status] < 0.01 * ORDERS


async def test_a_few_customers_have_much_most_have_little_and_one_has_nothing(stored: list[Rows]) -> None:
    customers = Counter(rows.order["customer_id"] for rows in stored)
    of_each = sorted(customers.values(), reverse=True)

    assert customers.most_common(1)[0][0] == BIGGEST_CUSTOMER
    assert of_each[0] > 20 * of_each[len(of_each) // 2]
    assert sum(of_each[:10]) > ORDERS / 3
    assert CUSTOMER_WITHOUT_ORDERS not in customers


async def test_orders_come_evenly_over_two_years_with_one_to_five_items(stored: list[Rows]) -> None:
    placed = [rows.order["created_at"] for rows in stored]

    assert placed == sorted(placed)
    assert timedelta(0) < placed[0] - (LAST - SPAN) < timedelta(days=1)
    assert timedelta(0) < LAST - placed[-1] < timedelta(days=1)
    assert abs(placed[ORDERS // 2] - (LAST - SPAN / 2)) < timedelta(days=1)
    assert {len(rows.items) for rows in stored} == {1, 2, 3, 4, 5}
    assert all(change["changed_at"] < LAST for rows in stored for change in rows.history)


async def test_the_planner_knows_the_tables_and_counts_need_no_heap(filled: str) -> None:
    analyzed = "SELECT count(DISTINCT tablename) FROM pg_stats WHERE tablename LIKE 'order%'"
    visible = "SELECT relpages - relallvisible FROM pg_class WHERE relname = 'orders'"

    assert await value_of(filled, analyzed) == 3
    assert await value_of(filled, visible) == 0


def test_a_seed_gives_the_same_orders_again_and_another_seed_gives_others() -> None:
    first, again, other = (list(Shop(100, seed).records(range(50))) for seed in (1, 1, 2))
    following = list(Shop(100, 1).records(range(50, 100)))

    assert first == again
    assert customers_of(first) != customers_of(other)
    assert customers_of(first) != customers_of(following)


def customers_of(records: list[OrderRecord]) -> list[str]:
    return [record.order.customer_id for record in records]


async def test_a_database_with_orders_is_left_as_it_is(filled: str) -> None:
    code, log = await run_to_its_end(*FILL, "--orders", "10", "--seed", "8", DATABASE_URL=filled)

    assert (code, log) == (1, ["fill: the database holds orders already: take an empty one"])
    assert await number_of_orders(filled) == ORDERS


async def test_a_database_without_tables_is_one_line(servers: Servers) -> None:
    async with a_database(servers.database_url, EMPTY) as url:
        said = await run_to_its_end(*FILL, "--orders", "10", DATABASE_URL=url)

    assert said == (1, ["fill: the database has no tables: run `orders migrate`"])


async def test_a_database_that_takes_no_orders_is_one_line(servers: Servers) -> None:
    async with a_database(servers.database_url) as url:
        name = url.rpartition("/")[2]
        await value_of(
            servers.database_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        )
        said = await run_to_its_end(*FILL, "--orders", "10", DATABASE_URL=url)

    assert said == (1, ["fill: DATABASE_URL: cannot execute COPY FROM in a read-only transaction"])


async def test_no_database_and_one_that_does_not_answer_are_one_line_each(servers: Servers) -> None:
    code, log = await run_to_its_end(*FILL)
    assert (code, len(log)) == (2, 1)
    assert log[0].startswith("fill: DATABASE_URL is not set")

    code, log = await run_to_its_end(*FILL, DATABASE_URL="postgresql://orders@127.0.0.1:1/orders")
    assert (code, len(log)) == (1, 1)
    assert log[0].startswith("fill: PostgreSQL is unavailable")

    code, log = await run_to_its_end(*FILL, DATABASE_URL=f"{servers.database_url}-nowhere")
    assert (code, len(log)) == (1, 1)
    assert '"orders-nowhere" does not exist' in log[0]


@pytest.mark.parametrize("number", ["0", "-1", "many", "1e6", "10000001"])
def test_a_number_of_orders_that_makes_no_sense_is_refused(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        parse([f"--orders={number}"])

    *_, line = capsys.readouterr().err.splitlines()
    assert line.endswith("error: argument --orders: must be a whole number from 1 to 10,000,000")


def test_the_help_says_that_there_will_be_no_workflows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        parse(["--help"])

    assert "no order has a workflow" in capsys.readouterr().out


async def test_ctrl_c_keeps_whole_batches_and_says_how_many_orders_are_there(servers: Servers) -> None:
    async with a_database(servers.database_url) as url:
        async with started(*FILL, "--orders", "10000000", DATABASE_URL=url) as run:
            await run.until_said("orders: 5000 of 10000000")
            code = await run.asked_to_stop(signal.SIGINT)
        there = await number_of_orders(url)
        halves = await value_of(
            url,
            "SELECT count(*) FROM orders"
            " WHERE NOT EXISTS (SELECT FROM order_items WHERE order_id = orders.id)"
            " OR version <> (SELECT count(*) FROM order_status_history WHERE order_id = orders.id)",
        )

    assert code == 130
    assert run.log[-1].startswith(f"{there:,} of 10,000,000 orders are there, after ")
    assert there >= 5_000
    assert there % 5_000 == 0
    assert halves == 0


@asynccontextmanager
async def held_in_a_batch(url: str) -> AsyncIterator[tuple[Run, asyncpg.Connection]]:
    """A fill that has copied orders and waits to copy their items, and who lets it wait."""
    other = await asyncpg.connect(url)

    async def waits_for_the_items() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'order_items'::regclass AND NOT granted"
        return bool(await other.fetchval(waiting))

    async with other.transaction(), started(*FILL, "--orders", "10", DATABASE_URL=url) as run:
        await other.execute("LOCK TABLE order_items")
        await eventually(waits_for_the_items)
        yield run, other
    await other.close()


async def test_a_killed_fill_leaves_no_part_of_a_batch(servers: Servers) -> None:
    async with a_database(servers.database_url) as url:
        async with held_in_a_batch(url) as (run, _):
            await run.asked_to_stop(signal.SIGKILL)

        assert await number_of_orders(url) == 0


async def test_a_connection_that_is_lost_in_a_batch_is_one_line(servers: Servers) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fill'"
    async with a_database(servers.database_url) as url:
        async with held_in_a_batch(url) as (run, other):
            await other.execute(f"{end} AND datname = current_database()")
            code = await run.until_ended()

        assert (code, len(run.log)) == (1, 1)
        assert run.log[0].endswith("terminating connection due to administrator command")
        assert await number_of_orders(url) == 0


async def test_a_terminal_gets_a_bar(servers: Servers) -> None:
    terminal, theirs = os.openpty()
    async with a_database(servers.database_url) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *FILL,
            "--orders=10",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=theirs,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "PYTHON_DOTENV_DISABLED": "1"},
        )
        code = await process.wait()
    os.close(theirs)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)

    assert code == 0
    assert "████ orders: 10 of 10" in shown
