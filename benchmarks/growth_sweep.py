"""What one sweep over many orders takes: time, memory, and what each program does."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.promotion import PROMOTED_BY
from benchmarks.command import CannotMeasure
from benchmarks.growth_parts import (
    LOOK_EVERY_SECONDS,
    PATIENCE_SECONDS,
    Metrics,
    Watch,
    an_engine,
    check,
    count_pending,
    order_workers,
    place_orders,
    until_served,
)
from benchmarks.growth_report import Swept
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from database.engine import connected
from load.calls import ACCEPTED, orders_at
from load.engine import Result, run
from orders.names import PROMOTION_QUEUE, PROMOTION_WORKFLOW_ID
from workflows.promotion import PromotionWorkflow, Sweep

LOOKS_AFTER_THE_SWEEP = 5
WRITES_PER_SECOND = 2.0
PROMOTION_WORKER = "promotion worker"


async def sweep(rig: Rig, orders: int, progress: Progress) -> Swept:
    """Place so many orders, and promote them in one sweep.

    Raises:
        CannotMeasure: a program has ended, or it takes longer than anybody would wait.
    """
    progress.say(f"A sweep over {orders:,} orders")
    metrics = Metrics()
    async with (
        an_engine(rig) as engine,
        order_workers(rig, 1, metrics.setting),
        rig.run(PROMOTION_WORKER, "worker", "--serve", "promotion"),
        orders_at(await rig.start_api(), {"create": 1}) as orders_beside,
    ):
        await until_served(rig, PROMOTION_QUEUE, PROMOTION_WORKER)
        watch = Watch(rig)
        watch.look()

        def placed(result: Result) -> None:
            watch.look()
            progress.count("orders placed:", len(result.latencies["place"]), orders)

        async def pending() -> int:
            found = await count_pending(engine, placed_before)
            progress.count("orders PENDING:", found, orders)
            return found

        await place_orders(rig, orders, placed)
        placed_before = datetime.now(UTC)
        placed_after = watch.seconds
        await watch.look_until(orders, pending)
        cached_before, cpu_before = await metrics.cached_workflows(), rig.cpu_seconds()

        began, began_at = watch.seconds, datetime.now(UTC)
        # As `schedule.py` declares it, but now.
        sweep = await rig.client.start_workflow(
            PromotionWorkflow.run, Sweep(), id=PROMOTION_WORKFLOW_ID, task_queue=PROMOTION_QUEUE
        )
        # A client places an order now and then, beside the sweep, which leaves these alone.
        stop = asyncio.Event()
        client = asyncio.create_task(
            run(orders_beside.choose, rate=WRITES_PER_SECOND, duration=PATIENCE_SECONDS, stop=stop)
        )
        await watch.look_until(0, pending)
        ended, cpu_after = watch.seconds, rig.cpu_seconds()
        stop.set()
        beside = check(await client)

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
            writes=sorted(beside.latencies["create"]),
            accepted=beside.notes["create", ACCEPTED],
            moments=watch.moments,
        )


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
