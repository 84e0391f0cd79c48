"""What a sweep, more workers and cached workflows cost: `python -m benchmarks.growth`.

    a sweep     10,000 orders are placed and then promoted in one sweep: how long, with how much memory
    workers     whole lifecycles a second with 1, 2 and 4 order workers on this machine
    the cache   the memory of an order worker, by the number of open orders in its cache

Starts all that it needs, servers for each part; writes a table and plots. Its data is in a temporary folder,
and removed.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiohttp
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError
from uuid_utils.compat import uuid7

import process
from activities.promotion import PROMOTED_BY
from api.schemas import NewOrderBody
from benchmarks.bench_report import versions
from benchmarks.growth_report import Cache, Heat, Moment, Report, Swept, targets_table, write
from benchmarks.latency import LAPTOP_AND_MICE
from benchmarks.rig import Rig
from chaos.progress import Progress
from database.engine import DatabaseUnavailable, connected, create_engine
from embedded.child import EmbeddedError, free_port
from load.calls import ACCEPTED, CannotLoad, orders_at
from load.engine import CallFailed, Choose, Result, run
from orders.names import ORDERS_QUEUE, PROMOTION_QUEUE, PROMOTION_WORKFLOW_ID
from orders.status import OrderStatus
from settings import ROOT
from workflows.client import start_order
from workflows.details import summarize
from workflows.promotion import PromotionWorkflow, Sweep
from workflows.state import OrderInput

ORDERS, SECONDS = 10_000, 20.0
MOST_ORDERS, MOST_SECONDS = 100_000, 3_600.0
CLIENTS = 24
WARM_UP_SECONDS = 3.0
LOOK_EVERY_SECONDS = 1.0
LOOKS_AFTER_THE_SWEEP = 5
START_PATIENCE_SECONDS = 60.0
PATIENCE_SECONDS = 3_600.0
CANNOT_MEASURE, INTERRUPTED = 2, 130

ORDER_WORKER = "order worker"
PROMOTION_WORKER = "promotion worker"


class CannotMeasure(Exception):  # noqa: N818 - the name is the fact
    """What is measured does not do what was expected; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured: orders in a sweep, seconds of load, numbers of workers, of orders in a cache."""

    orders: int
    seconds: float
    rounds: int = 3
    workers: tuple[int, ...] = (1, 2, 4)
    cached: tuple[int, ...] = (1_000, 2_000, 4_000)


SHORT = Extent(orders=200, seconds=2.0, rounds=1, cached=(50, 100, 200))


async def measure(extent: Extent, progress: Progress) -> Report:
    """Measure all three.

    Raises:
        CannotMeasure, CannotLoad, EmbeddedError, OSError: it cannot be done.
    """
    async with Rig.started() as rig:
        servers = await versions(rig.client, rig.settings.require_database_url())
        swept = await _sweep(rig, extent.orders, progress)
    async with Rig.started() as rig:
        heats = await _with_more_workers(rig, extent, progress)
    async with Rig.started() as rig:
        caches = await _with_more_cached(rig, extent.cached, progress)
    return Report(
        servers=servers, clients=CLIENTS, seconds=extent.seconds, swept=swept, heats=heats, caches=caches
    )


# A sweep.


@dataclass
class Watch:
    """What the rig's programs look like from now on, moment by moment."""

    rig: Rig
    began: float = field(default_factory=time.perf_counter)
    moments: list[Moment] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it has been watching."""
        return time.perf_counter() - self.began

    def look(self, pending: int | None = None) -> None:
        """Keep this moment, with the number of orders that are PENDING, if it is known.

        Raises:
            CannotMeasure: a program has ended.
        """
        memory = self.rig.memory_bytes()
        if ended := [name for name, private in memory.items() if not private]:
            raise CannotMeasure(f"{ended[0]} has ended")
        self.moments.append(Moment(seconds=self.seconds, pending=pending, memory=memory))

    async def look_until(self, pending: int, asking: Callable[[], Awaitable[int]]) -> None:
        """Look every second until so many orders are PENDING.

        Raises:
            CannotMeasure: a program has ended, or it takes longer than anybody would wait.
        """
        most = self.seconds + PATIENCE_SECONDS
        while (found := await asking()) != pending:
            self.look(found)
            if self.seconds > most:
                raise CannotMeasure(f"After {PATIENCE_SECONDS:,.0f} s {found:,} orders are PENDING")
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        self.look(found)


async def _sweep(rig: Rig, orders: int, progress: Progress) -> Swept:
    progress.say(f"A sweep over {orders:,} orders")
    metrics = _Metrics()
    async with (
        _engine(rig) as engine,
        _order_workers(rig, 1, metrics.setting),
        rig.run(PROMOTION_WORKER, "worker", "--serve", "promotion"),
    ):
        await _until_served(rig, PROMOTION_QUEUE, PROMOTION_WORKER)
        watch = Watch(rig)
        watch.look()

        def placed(result: Result) -> None:
            watch.look()
            progress.count("orders placed:", len(result.latencies["place"]), orders)

        async def pending() -> int:
            found = await _pending(engine)
            progress.count("orders PENDING:", found, orders)
            return found

        await _place(rig, orders, placed)
        placed_after = watch.seconds
        await watch.look_until(orders, pending)
        cached_before, cpu_before = await metrics.cached_workflows(), rig.cpu_seconds()

        began, began_at = watch.seconds, datetime.now(UTC)
        # As `schedule.py` declares it, but now.
        sweep = await rig.client.start_workflow(
            PromotionWorkflow.run, Sweep(), id=PROMOTION_WORKFLOW_ID, task_queue=PROMOTION_QUEUE
        )
        await watch.look_until(0, pending)
        ended, cpu_after = watch.seconds, rig.cpu_seconds()

        result = await sweep.result()
        description = await sweep.describe()
        if description.close_time is None:
            raise CannotMeasure("The sweep has ended and Temporal does not say when")
        for _ in range(LOOKS_AFTER_THE_SWEEP):
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            watch.look()
        promoted_once, promotions = await _promotions(engine)
        return Swept(
            orders=orders,
            placed_after=placed_after,
            began=began,
            ended=ended,
            signalling_seconds=(description.close_time - began_at).total_seconds(),
            signalled=result.signalled,
            promoted_once=promoted_once,
            promotions=promotions,
            cached=(cached_before, await metrics.cached_workflows()),
            cpu={name: cpu_after[name] - cpu_before[name] for name in cpu_after},
            moments=watch.moments,
        )


# More workers.


async def _with_more_workers(rig: Rig, extent: Extent, progress: Progress) -> list[Heat]:
    heats: list[Heat] = []
    async with orders_at(await rig.start_api(), {"lifecycle": 1}) as calls:
        for number in range(extent.rounds):
            # Each number of workers is first, and last, in a round, if there are enough of these.
            turn = number % len(extent.workers)
            for workers in (*extent.workers[turn:], *extent.workers[:turn]):
                progress.say(f"Lifecycles, round {number + 1} of {extent.rounds}, order workers: {workers}")
                heats.append(await _heat(rig, calls.choose, workers, extent.seconds))
    return heats


async def _heat(rig: Rig, choose: Choose, workers: int, seconds: float) -> Heat:
    async with _order_workers(rig, workers):
        _check(await run(choose, clients=CLIENTS, duration=min(WARM_UP_SECONDS, seconds)))
        before = rig.cpu_seconds()
        result = _check(await run(choose, clients=CLIENTS, duration=seconds))
        after = rig.cpu_seconds()
    cpu = {"client": result.cpu}
    for name in after:
        kind = ORDER_WORKER if name.startswith(ORDER_WORKER) else name
        cpu[kind] = cpu.get(kind, 0) + after[name] - before[name]
    accepted = result.notes["lifecycle", ACCEPTED]
    return Heat(
        workers=sum(name.startswith(ORDER_WORKER) for name in after),
        lifecycles=len(result.latencies["lifecycle"]) - accepted,
        accepted=accepted,
        seconds=result.elapsed,
        cpu=cpu,
    )


# The cache.


async def _with_more_cached(rig: Rig, cached: Sequence[int], progress: Progress) -> list[Cache]:
    metrics = _Metrics()
    setting = {"ORDERS_WORKER_CACHED_WORKFLOWS": str(2 * cached[-1]), **metrics.setting}
    async with _engine(rig) as engine, _order_workers(rig, 1, setting):

        async def look() -> Cache:
            await asyncio.sleep(2 * LOOK_EVERY_SECONDS)
            memory = rig.memory_bytes()
            return Cache(workflows=await metrics.cached_workflows(), private=memory[f"{ORDER_WORKER} 1"])

        caches = [await look()]
        for before, number in zip((0, *cached), cached, strict=False):
            progress.say(f"{number:,} open orders in a worker's cache")
            await _place(rig, number - before)
            await Watch(rig).look_until(number, partial(_pending, engine))
            caches.append(await look())
            if (found := caches[-1].workflows) != number:
                raise CannotMeasure(f"{found:,} workflows are in the cache, where {number:,} must be")
    return caches


# What the parts share.


def _check(result: Result) -> Result:
    """The result, if every call was answered as expected.

    Raises:
        CannotMeasure: one was not.
    """
    if result.errors:
        first = " ".join(next(iter(result.messages.values())).split())
        raise CannotMeasure(f"{result.errors.total()} calls failed, the first of them: {first}")
    return result


async def _place(rig: Rig, orders: int, tell: Callable[[Result], None] | None = None) -> None:
    """Start the workflows of so many orders, as the API does; they are durable then."""

    async def place() -> None:
        command = NewOrderBody.model_validate(LAPTOP_AND_MICE).command(
            uuid7(), placed_by="api", request_id=str(uuid4())
        )
        try:
            await start_order(rig.client, OrderInput(place=command), summarize(command))
        except RPCError as error:
            raise CallFailed(error.status.name, f"Temporal: {error.message}") from None

    _check(await run(lambda: ("place", place), clients=CLIENTS, calls=orders, progress=tell))


@asynccontextmanager
async def _order_workers(
    rig: Rig, number: int, setting: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """So many order workers, from the moment when all of them ask for work until the block ends."""
    names = [f"{ORDER_WORKER} {position}" for position in range(1, number + 1)]
    async with AsyncExitStack() as workers:
        for name in names:
            worker = rig.run(name, "worker", "--serve", "orders", environment=setting)
            await workers.enter_async_context(worker)
        await _until_served(rig, ORDERS_QUEUE, *names)
        yield


async def _until_served(rig: Rig, queue: str, *names: str) -> None:
    """Wait until every one of these programs asks for the queue's work."""
    asking = DescribeTaskQueueRequest(
        namespace=rig.client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    wanted = {str(rig.processes[name].pid) for name in names}
    most = time.perf_counter() + START_PATIENCE_SECONDS
    while time.perf_counter() < most:
        found = await rig.client.workflow_service.describe_task_queue(asking)
        # A worker's identity is `process id@machine`.
        if wanted <= {poller.identity.partition("@")[0] for poller in found.pollers}:
            return
        await asyncio.sleep(0.1)
    raise CannotMeasure(f"{', '.join(names)}: no work asked for within {START_PATIENCE_SECONDS:g} s")


class _Metrics:
    """What a worker counts for Prometheus, at a port that `setting` gives it."""

    def __init__(self) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        self.setting = {"ORDERS_METRICS_ADDRESS": self._address}

    async def cached_workflows(self) -> int:
        """How many workflows are in the worker's cache."""
        async with aiohttp.ClientSession() as http, http.get(f"http://{self._address}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        sizes = [line for line in lines if line.startswith("temporal_sticky_cache_size{")]
        return sum(int(line.rpartition(" ")[2]) for line in sizes)


@asynccontextmanager
async def _engine(rig: Rig) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(rig.settings, application_name="growth")
    try:
        yield engine
    finally:
        await engine.dispose()


async def _pending(engine: AsyncEngine) -> int:
    async with connected(engine) as connection:
        counted = await connection.execute(
            text("SELECT count(*) FROM orders WHERE status = :status"), {"status": OrderStatus.PENDING}
        )
        return int(counted.scalar_one())


_PROMOTIONS = """
SELECT count(*) FILTER (WHERE times = 1), coalesce(sum(times), 0)
FROM (
    SELECT count(*) AS times FROM order_status_history WHERE changed_by = :promoted_by GROUP BY order_id
) AS promoted
"""


async def _promotions(engine: AsyncEngine) -> tuple[int, int]:
    """The number of orders that were promoted once, and of promotions."""
    async with connected(engine) as connection:
        counted = (await connection.execute(text(_PROMOTIONS), {"promoted_by": PROMOTED_BY})).one()
        return int(counted[0]), int(counted[1])


# The command.


def main() -> int:
    """Run as the command line says: 0 when all is measured, 2 when it cannot be, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        epilog=main.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--orders", type=_orders, default=ORDERS, help=f"in the sweep ({ORDERS})")
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, help=f"of each load ({SECONDS:g})")
    parser.add_argument("--out", type=Path, help="a folder (docs/growth; with --short, nothing is written)")
    parser.add_argument("--short", action="store_true", help="200 orders, 2 seconds: to see that it works")
    asked = parser.parse_args()
    extent = SHORT if asked.short else Extent(orders=asked.orders, seconds=asked.seconds)
    options = "--short" if asked.short else f"--orders {asked.orders} --seconds {asked.seconds:g}"
    out = asked.out or (None if asked.short else ROOT / "docs" / "growth")
    progress = Progress()
    try:
        report = asyncio.run(_until_told_to_stop(measure(extent, progress)))
        if out:
            write(out, report, f"python -m benchmarks.growth {options}")
            progress.say(f"{out} is written")
    except (
        CannotMeasure,
        CannotLoad,
        EmbeddedError,
        DatabaseUnavailable,
        SQLAlchemyError,
        RPCError,
        WorkflowFailureError,
        aiohttp.ClientError,
        OSError,
    ) as error:
        sys.stderr.write(f"growth: {type(error).__name__}: {' '.join(str(error).split())}\n")
        return CANNOT_MEASURE
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.say("interrupted; everything is stopped and removed")
        return INTERRUPTED
    sys.stdout.write(targets_table(report))
    return 0


async def _until_told_to_stop(measuring: Coroutine[None, None, Report]) -> Report:
    """Measure; SIGTERM and Ctrl-C end it where it is."""
    task = asyncio.ensure_future(measuring)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _orders(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_ORDERS:,}")
    return int(given)


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {MOST_SECONDS:,.0f}")
    return seconds


if __name__ == "__main__":
    # Not `sys.exit`: the Temporal SDK's native threads may still be at work.
    process.leave(main())
