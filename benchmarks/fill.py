"""Fill a database with a shop's orders, to measure on: `python -m benchmarks.fill --orders 1000000 --seed 7`.

Needs DATABASE_URL: a migrated database without orders. Writes the projection only: no order has a workflow,
so all of them can be read and none can be changed, and `orders doctor` would report every one. Use a database
of its own, and throw it away afterwards. The same seed and number of orders give the same rows.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import accumulate
from typing import Any, NoReturn
from uuid import UUID

import asyncpg
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

import process
from activities.promotion import PROMOTED_BY
from benchmarks.progress import Progress
from database.engine import DatabaseUnavailable, connected, create_engine
from database.projection import Row, rows_of
from database.tables import order_items, order_status_history, orders
from orders.commands import ChangeStatus, NewLineItem, PlaceOrder
from orders.lifecycle import apply, decide, place
from orders.names import promotion_command_id
from orders.order import OrderRecord
from orders.status import OrderStatus
from settings import load_settings

LAST = datetime(2026, 7, 1, 12, tzinfo=UTC)
"""When the shop is looked at: what would happen later has not happened."""
SPAN = timedelta(days=730)
DAY = timedelta(days=1)

BIGGEST_CUSTOMER = "customer-1"
CUSTOMER_WITHOUT_ORDERS = "customer-0"
MOST_ORDERS = 10_000_000

_ORDERS_IN_A_BATCH = 5_000
_ORDERS_FOR_EACH_CUSTOMER = 20  # on average: a few have a great share, most have one or two
_PRODUCTS = 2_000
_SHARE_CANCELLED = 0.08
_SHARES_OF_ITEMS = (35, 30, 18, 11, 6)  # of orders with 1, 2, … items
_PATIENCE_SECONDS = 3_600.0


class NotEmpty(Exception):  # noqa: N818 - the name is the fact
    """The database holds orders already."""

    def __init__(self) -> None:
        super().__init__("the database holds orders already: take an empty one")


class Shop:
    """Two years of orders, evenly placed until `LAST`; every one is made by the domain's own rules."""

    def __init__(self, orders: int, seed: int) -> None:
        self.orders = orders
        self._seed = seed
        # Zipf's law: the customer of rank r has 1/r times the orders of the first.
        ranks = range(1, max(10, orders // _ORDERS_FOR_EACH_CUSTOMER) + 1)
        self._customers = [f"customer-{rank}" for rank in ranks]
        self._weights = list(accumulate(1 / rank for rank in ranks))

    def records(self, numbers: range) -> Iterator[OrderRecord]:
        """The orders with these numbers, oldest first; the same for the same range."""
        chance = random.Random(f"{self._seed} {numbers.start}")  # noqa: S311 - nothing here is secret
        customers = chance.choices(self._customers, cum_weights=self._weights, k=len(numbers))
        for number, customer in zip(numbers, customers, strict=True):
            placed_at = LAST - SPAN + SPAN * ((number + chance.random()) / self.orders)
            command = _an_order(chance, customer, placed_at)
            record = place(command, placed_at)
            for moment, change in _life(chance, command.order_id, placed_at):
                if moment < LAST:
                    record = apply(record, decide(record, change, moment))
            yield record


def _an_order(chance: random.Random, customer: str, placed_at: datetime) -> PlaceOrder:
    [items] = chance.choices(range(1, len(_SHARES_OF_ITEMS) + 1), _SHARES_OF_ITEMS)
    return PlaceOrder(
        order_id=_uuid7(chance, placed_at),
        customer_id=customer,
        items=tuple(_an_item(chance) for _ in range(items)),
        request_id=str(_uuid4(chance)),
    )


def _an_item(chance: random.Random) -> NewLineItem:
    product = chance.randrange(_PRODUCTS)
    return NewLineItem(
        product_id=f"product-{product}",
        quantity=chance.choice((1, 1, 1, 2, 3)),
        unit_price=Decimal(99 + 7 * product) / 100,  # a product has one price
    )


def _life(
    chance: random.Random, order_id: UUID, placed_at: datetime
) -> Iterator[tuple[datetime, ChangeStatus]]:
    """What becomes of an order: cancelled before the promotion, which runs at midnight, or delivered."""
    promoted_at = placed_at.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    shipped_at = promoted_at + DAY * chance.uniform(0.1, 2)
    delivered_at = shipped_at + DAY * chance.uniform(1, 5)
    if chance.random() < _SHARE_CANCELLED:
        cancelled_at = placed_at + (promoted_at - placed_at) * chance.random()
        yield cancelled_at, _asked_for(chance, OrderStatus.CANCELLED, "api", "ordered by mistake")
    else:
        promotion = ChangeStatus(
            command_id=promotion_command_id(order_id), status=OrderStatus.PROCESSING, changed_by=PROMOTED_BY
        )
        yield promoted_at, promotion
        yield shipped_at, _asked_for(chance, OrderStatus.SHIPPED, f"warehouse-{chance.randrange(9)}")
        yield delivered_at, _asked_for(chance, OrderStatus.DELIVERED, f"carrier-{chance.randrange(4)}")


def _asked_for(
    chance: random.Random, status: OrderStatus, changed_by: str, reason: str | None = None
) -> ChangeStatus:
    """A change that came through the API."""
    return ChangeStatus(
        command_id=str(_uuid4(chance)),
        status=status,
        changed_by=changed_by,
        reason=reason,
        request_id=str(_uuid4(chance)),
    )


def _uuid4(chance: random.Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)


def _uuid7(chance: random.Random, moment: datetime) -> UUID:
    """An id as the API makes it: milliseconds, version, variant, and chance between them (RFC 9562)."""
    milliseconds = int(moment.timestamp() * 1_000)
    return UUID(
        int=milliseconds << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    )


Batch = tuple[tuple[Table, list[Row]], ...]


def _batch(shop: Shop, numbers: range) -> Batch:
    rows = [rows_of(record) for record in shop.records(numbers)]
    return (
        (orders, [row.order for row in rows]),
        (order_items, [item for row in rows for item in row.items]),
        (order_status_history, [change for row in rows for change in row.history]),
    )


async def fill(engine: AsyncEngine, shop: Shop, progress: Progress, stop: asyncio.Event | None = None) -> int:
    """Copy the shop's orders into an empty database; how many are there, all unless `stop` is set.

    Each batch is one transaction. At the end the tables are vacuumed and analyzed, which autovacuum would
    otherwise do minutes later, in the middle of what is measured.

    Raises:
        NotEmpty: it holds orders already; nothing is changed.
        DatabaseUnavailable, SQLAlchemyError, asyncpg's errors: what is wrong with the database.
    """
    async with connected(engine) as connection:
        database: Any = (await connection.get_raw_connection()).driver_connection
        if await database.fetchval("SELECT EXISTS (SELECT FROM orders)"):
            raise NotEmpty
        done = 0
        batch = _batch(shop, range(min(_ORDERS_IN_A_BATCH, shop.orders)))
        while done < shop.orders and not (stop and stop.is_set()):
            upcoming = range(
                min(done + _ORDERS_IN_A_BATCH, shop.orders), min(done + 2 * _ORDERS_IN_A_BATCH, shop.orders)
            )
            # The next batch is made while PostgreSQL works on this one.
            _, batch = await asyncio.gather(_copy(database, batch), asyncio.to_thread(_batch, shop, upcoming))
            done = upcoming.start
            progress.count("orders:", done, shop.orders)
        if done == shop.orders:
            progress.say("vacuuming and analyzing")
            for table, _ in batch:
                await database.execute(f"VACUUM (ANALYZE) {table.name}", timeout=_PATIENCE_SECONDS)
    return done


async def _copy(database: Any, batch: Batch) -> None:  # noqa: ANN401 - asyncpg has no types
    async with database.transaction():
        for table, rows in batch:
            await database.copy_records_to_table(
                table.name,
                columns=list(rows[0]),
                records=[tuple(row.values()) for row in rows],
                timeout=_PATIENCE_SECONDS,
            )


async def main(asked: argparse.Namespace) -> None:
    """Fill the database of DATABASE_URL."""
    engine = create_engine(load_settings(), application_name="fill")
    began = time.monotonic()
    try:
        filled = await fill(engine, Shop(asked.orders, asked.seed), Progress(), stop=process.stop_requested())
    except asyncpg.UndefinedTableError:
        _refuse("the database has no tables: run `orders migrate`")
    except (NotEmpty, DatabaseUnavailable) as refusal:
        _refuse(str(refusal))
    except asyncpg.InterfaceError as error:
        # A lost connection cannot take its transaction back, and that hides why it was lost.
        _refuse(f"DATABASE_URL: {error.__context__ or error}")
    except (SQLAlchemyError, asyncpg.PostgresError, OSError) as error:
        _refuse(f"DATABASE_URL: {error}")
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{filled:,} of {asked.orders:,} orders are there, after {seconds:,.0f} s "
        f"({filled / seconds:,.0f} a second)\n"
    )
    if filled < asked.orders:
        process.leave(128 + signal.SIGINT)


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"fill: {reason.splitlines()[0]}\n")
    process.leave(1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--orders", type=_number_of_orders, default=1_000_000, help="how many (1000000)")
    parser.add_argument("--seed", type=int, default=7, help="what chance begins with (7)")
    return parser.parse_args(arguments)


def _number_of_orders(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_ORDERS:,}")
    return number


if __name__ == "__main__":
    process.run("fill", partial(main, parse()))
