"""What more order workers carry out together, and what an order in the cache of one takes."""

import asyncio
from collections.abc import Sequence
from functools import partial

from benchmarks.command import CannotMeasure
from benchmarks.growth_parts import (
    CLIENTS,
    LOOK_EVERY_SECONDS,
    ORDER_WORKER,
    Metrics,
    Watch,
    an_engine,
    check,
    count_pending,
    order_workers,
    place_orders,
)
from benchmarks.growth_report import Cache, Heat
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from load.calls import ACCEPTED, orders_at
from load.engine import Choose, run

WARM_UP_SECONDS = 3.0


async def with_more_workers(
    rig: Rig, numbers: Sequence[int], rounds: int, seconds: float, progress: Progress
) -> list[Heat]:
    """Whole lifecycles, for so many seconds in each round with each number of workers."""
    heats: list[Heat] = []
    async with orders_at(await rig.start_api(), {"lifecycle": 1}) as calls:
        for number in range(rounds):
            # Each number of workers is first, and last, in a round, if there are enough of these.
            turn = number % len(numbers)
            for workers in (*numbers[turn:], *numbers[:turn]):
                progress.say(f"Lifecycles, round {number + 1} of {rounds}, order workers: {workers}")
                heats.append(await _heat(rig, calls.choose, workers, seconds))
    return heats


async def _heat(rig: Rig, choose: Choose, workers: int, seconds: float) -> Heat:
    async with order_workers(rig, workers):
        check(await run(choose, clients=CLIENTS, duration=min(WARM_UP_SECONDS, seconds)))
        before = rig.cpu_seconds()
        result = check(await run(choose, clients=CLIENTS, duration=seconds))
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


async def with_more_cached(rig: Rig, cached: Sequence[int], progress: Progress) -> list[Cache]:
    """A worker's memory with each number of open orders in its cache, and with none.

    Raises:
        CannotMeasure: they are not in the cache.
    """
    metrics = Metrics()
    setting = {"ORDERS_WORKER_CACHED_WORKFLOWS": str(2 * cached[-1]), **metrics.setting}
    async with an_engine(rig) as engine, order_workers(rig, 1, setting):

        async def look() -> Cache:
            await asyncio.sleep(2 * LOOK_EVERY_SECONDS)
            memory = rig.memory_bytes()
            return Cache(workflows=await metrics.cached_workflows(), private=memory[f"{ORDER_WORKER} 1"])

        caches = [await look()]
        for before, number in zip((0, *cached), cached, strict=False):
            progress.say(f"{number:,} open orders in a worker's cache")
            await place_orders(rig, number - before)
            await Watch(rig).look_until(number, partial(count_pending, engine))
            caches.append(await look())
            if (found := caches[-1].workflows) != number:
                raise CannotMeasure(f"{found:,} workflows are in the cache, where {number:,} must be")
    return caches
