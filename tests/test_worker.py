import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import WorkflowHandle

from database import queries
from embedded.child import free_port
from orders.names import PROMOTION_QUEUE
from orders.order import Order
from orders.status import OrderStatus
from tests.builders import a_change, a_place_order
from tests.conftest import Systems
from tests.processes import Run, run_to_its_end, servers_of, started
from tests.system import System, eventually
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow, Sweep, SweepResult

NOT_LONG = 0.3


@pytest.fixture(scope="module")
async def unserved(systems: Systems) -> AsyncIterator[System]:
    """A system in which nothing runs but the workers that a test starts."""
    async with systems("worker") as system:
        yield system


@asynccontextmanager
async def serving(system: System, role: str = "all", **environment: str) -> AsyncIterator[Run]:
    """A worker of the system, from its first line until the block ends."""
    arguments = ("-m", "worker", "--serve", role)
    async with started(*arguments, **servers_of(system), **environment) as worker:
        await worker.until_said("Serving")
        yield worker


async def place(system: System) -> UUID:
    """An order that is durable, and maybe not more."""
    command = a_place_order()
    await system.dispatcher.place(command, wait=False)
    return command.order_id


async def sweep(system: System) -> WorkflowHandle[PromotionWorkflow, SweepResult]:
    return await system.client.start_workflow(
        PromotionWorkflow.run, Sweep(), id=f"sweep-{uuid4()}", task_queue=PROMOTION_QUEUE
    )


async def statuses(system: System, order_id: UUID) -> list[OrderStatus]:
    """Every status that PostgreSQL has seen the order in."""
    return [change.new_status for change in await queries.get_history(system.engine, order_id)]


async def until_it_has_been(system: System, order_id: UUID, *expected: OrderStatus) -> None:
    async def it_has() -> bool:
        return await statuses(system, order_id) == list(expected)

    await eventually(it_has)


async def carried_out_by(handle: WorkflowHandle[OrderWorkflow, Order]) -> set[str]:
    """Who has carried out the workflow's tasks."""
    history = await handle.fetch_history()
    return {
        event.workflow_task_completed_event_attributes.identity
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    }


async def was_touched(handle: WorkflowHandle[PromotionWorkflow, SweepResult]) -> bool:
    """Whether any worker has had a task of the workflow."""
    history = await handle.fetch_history()
    return any(event.HasField("workflow_task_started_event_attributes") for event in history.events)


async def test_a_worker_of_all_queues_serves_orders_and_promotes_them(unserved: System) -> None:
    async with serving(unserved):
        order_id = await place(unserved)
        await until_it_has_been(unserved, order_id, OrderStatus.PENDING)

        await (await sweep(unserved)).result()
        await until_it_has_been(unserved, order_id, OrderStatus.PENDING, OrderStatus.PROCESSING)


async def test_a_worker_of_one_queue_leaves_the_other_to_others(unserved: System) -> None:
    left, order_id = await sweep(unserved), await place(unserved)

    async with serving(unserved, "orders"):
        await until_it_has_been(unserved, order_id, OrderStatus.PENDING)
        assert not await was_touched(left)

    late = await place(unserved)
    async with serving(unserved, "promotion"):
        await left.result()
        assert not await carried_out_by(unserved.handle(late))
        assert await statuses(unserved, late) == []


async def test_two_workers_share_the_orders(unserved: System) -> None:
    async with serving(unserved, "orders") as one, serving(unserved, "orders") as other:
        seen: set[str] = set()

        async def both_have_worked() -> bool:
            order_id = await place(unserved)
            await until_it_has_been(unserved, order_id, OrderStatus.PENDING)
            seen.update(await carried_out_by(unserved.handle(order_id)))
            return seen == {one.identity, other.identity}

        await eventually(both_have_worked)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_asked_to_stop_finishes_the_order_in_hand(
    unserved: System, number: signal.Signals
) -> None:
    async with serving(unserved, "orders") as worker:
        async with unserved.engine.begin() as connection:
            # AUTOCOMMIT would let the lock go at once.
            await connection.execute(text("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"))
            order_id = await place(unserved)
            await eventually(partial(a_worker_waits, unserved))
            worker.send(number)
            await worker.until_said("Finishing what is in hand")
        assert await worker.until_ended() == 0

    assert await statuses(unserved, order_id) == [OrderStatus.PENDING]
    assert await carried_out_by(unserved.handle(order_id)) == {worker.identity}


async def a_worker_waits(system: System) -> bool:
    """Whether a worker's projection is in the middle of its transaction."""
    async with system.engine.connect() as connection:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return (await connection.execute(waiting)).scalar_one() > 0


async def test_a_command_that_finds_its_worker_killed_is_carried_out_once_by_the_next(
    unserved: System,
) -> None:
    impatient = replace(unserved.dispatcher, answer_deadline=NOT_LONG)
    command = a_change(OrderStatus.PROCESSING)

    async with serving(unserved, "orders") as worker:
        order_id = await place(unserved)
        await until_it_has_been(unserved, order_id, OrderStatus.PENDING)
        worker.child.kill()
        assert await worker.until_ended() == -signal.SIGKILL
    assert await impatient.change(order_id, command, wait=True) is None
    assert await impatient.change(order_id, command, wait=True) is None

    async with serving(unserved, "orders"):
        answer = await replace(impatient, answer_deadline=60).change(order_id, command, wait=True)

    assert answer is not None
    assert answer.order.status is OrderStatus.PROCESSING
    assert await statuses(unserved, order_id) == [OrderStatus.PENDING, OrderStatus.PROCESSING]
