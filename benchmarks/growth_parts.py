"""What `benchmarks.growth` measures with: workers that serve, orders that are placed, what can be seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError
from uuid_utils.compat import uuid7

from api.schemas import LAPTOP_AND_MICE, NewOrderBody
from benchmarks.command import CannotMeasure
from benchmarks.growth_report import Moment
from benchmarks.rig import Rig
from database.engine import connected, create_engine
from embedded.child import free_port
from load.engine import CallFailed, Result, run
from orders.names import ORDERS_QUEUE
from orders.status import OrderStatus
from workflows.client import start_order
from workflows.details import summarize
from workflows.state import OrderInput

CLIENTS = 24
ORDER_WORKER = "order worker"
LOOK_EVERY_SECONDS = 1.0
_START_PATIENCE_SECONDS = 60.0
_ALL = datetime.max.replace(tzinfo=UTC)
PATIENCE_SECONDS = 3_600.0


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


def check(result: Result) -> Result:
    """The result, if every call was answered as expected.

    Raises:
        CannotMeasure: one was not.
    """
    if result.errors:
        first = " ".join(next(iter(result.messages.values())).split())
        raise CannotMeasure(f"{result.errors.total()} calls failed, the first of them: {first}")
    return result


async def place_orders(rig: Rig, orders: int, tell: Callable[[Result], None] | None = None) -> None:
    """Start the workflows of so many orders, as the API does; they are durable then."""

    async def place() -> None:
        command = NewOrderBody.model_validate(LAPTOP_AND_MICE).command(
            uuid7(), placed_by="api", request_id=str(uuid4())
        )
        try:
            await start_order(rig.client, OrderInput(place=command), summarize(command))
        except RPCError as error:
            raise CallFailed(error.status.name, f"Temporal: {error.message}") from None

    check(await run(lambda: ("place", place), clients=CLIENTS, calls=orders, progress=tell))


@asynccontextmanager
async def order_workers(
    rig: Rig, number: int, setting: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """So many order workers, from the moment when all of them ask for work until the block ends."""
    names = [f"{ORDER_WORKER} {position}" for position in range(1, number + 1)]
    async with AsyncExitStack() as workers:
        for name in names:
            worker = rig.run(name, "worker", "--serve", "orders", environment=setting)
            await workers.enter_async_context(worker)
        await until_served(rig, ORDERS_QUEUE, *names)
        yield


async def until_served(rig: Rig, queue: str, *names: str) -> None:
    """Wait until every one of these programs asks for the queue's work."""
    asking = DescribeTaskQueueRequest(
        namespace=rig.client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    wanted = {str(rig.processes[name].pid) for name in names}
    most = time.perf_counter() + _START_PATIENCE_SECONDS
    while time.perf_counter() < most:
        found = await rig.client.workflow_service.describe_task_queue(asking)
        # A worker's identity is `process id@machine`.
        if wanted <= {poller.identity.partition("@")[0] for poller in found.pollers}:
            return
        await asyncio.sleep(0.1)
    raise CannotMeasure(f"{', '.join(names)}: no work asked for within {_START_PATIENCE_SECONDS:g} s")


class Metrics:
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
async def an_engine(rig: Rig) -> AsyncIterator[AsyncEngine]:
    """The application's own pool, until the block ends."""
    engine = create_engine(rig.settings, application_name="growth")
    try:
        yield engine
    finally:
        await engine.dispose()


async def count_pending(engine: AsyncEngine, placed_before: datetime = _ALL) -> int:
    """The number of orders that PostgreSQL has as PENDING, of those placed before a time."""
    async with connected(engine) as connection:
        counted = await connection.execute(
            text("SELECT count(*) FROM orders WHERE status = :status AND created_at < :before"),
            {"status": OrderStatus.PENDING, "before": placed_before},
        )
        return int(counted.scalar_one())
