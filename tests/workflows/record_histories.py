"""Record the histories that running orders may have today: `python -m tests.workflows.record_histories`.

Every scenario becomes a file in `histories/`, unless the file is there already: a recorded history stays
for as long as an order may live that began as it did. When the workflow's code changes on purpose, give
the scenarios a new generation and keep the old files: `test_replay.py` replays them all.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

from doctor.checkup import CheckupWorkflow
from orders.names import PROMOTION_QUEUE
from orders.signals import StatusSignal
from orders.status import OrderStatus
from orders.text import MAX_IDENTIFIER_LENGTH, MAX_REASON_LENGTH
from tests.builders import a_place_order
from tests.conftest import EVENTS_IN_A_RUN, running_servers, system_in
from tests.system import System, eventually
from tests.workflows.conftest import AnOrder
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow, Sweep

HISTORIES = Path(__file__).parent / "histories"
GENERATION = "2"

_, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus


async def delivered(order: AnOrder) -> None:
    for status in (PROCESSING, SHIPPED, DELIVERED):
        await order.change(status)
    await order.handle.result()


async def cancelled(order: AnOrder) -> None:
    await order.handle.signal("cancel")
    await order.handle.result()


async def still_pending(order: AnOrder) -> None:
    await order.state()


async def refused(order: AnOrder) -> None:
    for status in ("DELIVERED", "SHIPED", "PROCESSING", "PROCESSING", "CANCELLED"):
        await order.signal(status, command_id=status)
    await order.until_projected()


async def asked_for_everything(order: AnOrder) -> None:
    """Meet every refusal of the rules, so that a rule that moves breaks this history's replay."""
    for accepted in (PROCESSING, SHIPPED, DELIVERED):
        for status in OrderStatus:
            if status is not accepted and status is not CANCELLED:
                await order.signal(status)
        if accepted is not PROCESSING:
            await order.signal(CANCELLED)
        await order.handle.signal(
            OrderWorkflow.update_status, StatusSignal(status=accepted, expected_version=9)
        )
        await order.handle.signal(OrderWorkflow.update_status, StatusSignal(status=accepted, reason="\n"))
        for text in ("reason", "changed_by", "command_id"):
            longest = MAX_REASON_LENGTH if text == "reason" else MAX_IDENTIFIER_LENGTH
            too_long = {"status": accepted, text: "x" * (longest + 1)}
            await order.handle.signal("update_status", too_long)
        await order.change(accepted, command_id=f"to {accepted}")
        if accepted is not DELIVERED:  # whose order is over, and takes no more
            await order.signal(accepted, command_id=f"to {accepted}")
    await order.handle.result()


async def told_at_length(order: AnOrder) -> None:
    """Carry the longest texts that the rules accept."""
    await order.handle.signal(
        OrderWorkflow.update_status,
        StatusSignal(
            status=PROCESSING,
            command_id="c" * MAX_IDENTIFIER_LENGTH,
            changed_by="b" * MAX_IDENTIFIER_LENGTH,
            reason="r" * MAX_REASON_LENGTH,
            expected_version=1,
        ),
    )
    await order.until_projected()


async def told_nonsense(order: AnOrder) -> None:
    await order.handle.signal("update_status", args=[1, 2])
    await order.handle.signal("updatestatus")
    await order.change(PROCESSING)


async def asked_to_cancel(order: AnOrder) -> None:
    await order.handle.cancel()
    await order.change(PROCESSING)


async def continued(order: AnOrder) -> None:
    first_run = (await order.handle.describe()).run_id

    async def has_continued() -> bool:
        return (await order.handle.describe()).run_id != first_run

    await asyncio.gather(*(order.signal(SHIPPED, command_id=str(it)) for it in range(EVENTS_IN_A_RUN)))
    await eventually(has_continued)
    await order.change(PROCESSING)


async def projected_late_after_silence(order: AnOrder) -> None:
    await _projected_late(order, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "COMMIT")


async def projected_late_after_failures(order: AnOrder) -> None:
    await _projected_late(
        order, "ALTER TABLE orders RENAME TO away; COMMIT", "ALTER TABLE away RENAME TO orders"
    )


async def _projected_late(order: AnOrder, take_away: str, bring_back: str) -> None:
    async with order.system.engine.connect() as connection:
        database = (await connection.get_raw_connection()).driver_connection
        assert database is not None
        await database.execute(f"BEGIN; {take_away}")
        await order.signal(PROCESSING)
        await asyncio.sleep(4)
        await order.signal(SHIPPED)
        await database.execute(bring_back)
    await order.until_projected()


SCENARIOS: tuple[Callable[[AnOrder], Awaitable[None]], ...] = (
    delivered,
    cancelled,
    still_pending,
    refused,
    asked_for_everything,
    told_at_length,
    told_nonsense,
    asked_to_cancel,
    continued,
    projected_late_after_silence,
    projected_late_after_failures,
)


async def record(system: System) -> None:
    """Play every scenario that has no file, and write what Temporal recorded of it."""
    for scenario in SCENARIOS:
        name = f"{GENERATION}-order-{scenario.__name__}"
        if not list(HISTORIES.glob(f"{name}-*.json")):
            place = a_place_order()
            await system.dispatcher.place(place, wait=True)
            await scenario(AnOrder(system=system, id=place.order_id, customer_id=place.customer_id))
            await _write(system, f"order-{place.order_id}", name)
    name = f"{GENERATION}-promotion"
    if not list(HISTORIES.glob(f"{name}-*.json")):
        await asyncio.gather(*(system.dispatcher.place(a_place_order(), wait=True) for _ in range(5)))
        sweep = f"sweep-{uuid4()}"
        await system.client.execute_workflow(
            PromotionWorkflow.run, Sweep(), id=sweep, task_queue=PROMOTION_QUEUE
        )
        await _write(system, sweep, name)
    name = f"{GENERATION}-checkup"
    if not list(HISTORIES.glob(f"{name}-*.json")):
        checkup = f"checkup-{uuid4()}"
        await system.client.execute_workflow(CheckupWorkflow.run, id=checkup, task_queue=PROMOTION_QUEUE)
        await _write(system, checkup, name)


async def _write(system: System, workflow_id: str, name: str) -> None:
    """Write the history of each run, in the order of their starts."""
    runs = [it async for it in system.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    for number, run in enumerate(sorted(runs, key=lambda it: it.start_time), start=1):
        handle = system.client.get_workflow_handle(workflow_id, run_id=run.run_id)
        path = HISTORIES / f"{name}-{number}.json"
        history = (await handle.fetch_history()).to_json()
        # A stack trace names the machine that recorded it, and no replay reads it.
        path.write_text(re.sub(r'"stackTrace": *"(\\.|[^"\\])*"', '"stackTrace": ""', history) + "\n")
        sys.stdout.write(f"{path.name}\n")


async def main() -> None:
    """Record on servers of its own."""
    HISTORIES.mkdir(exist_ok=True)
    async with running_servers() as servers, system_in(servers, "shared") as system, system.workers():
        await record(system)


if __name__ == "__main__":
    asyncio.run(main())
