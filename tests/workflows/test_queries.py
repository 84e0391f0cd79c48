"""A query must leave no trace in an order (docs/decisions/0009)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from orders.order import OrderRecord
from orders.signals import StatusSignal
from orders.status import OrderStatus
from tests.builders import a_place_order
from tests.conftest import Systems
from tests.system import System, a_replayer, eventually
from workflows.order import OrderWorkflow

_, PROCESSING, SHIPPED, _, _ = OrderStatus

# The fault hits some orders of many: it takes a query that comes before the workflow task does.
ORDERS = 80


@pytest.fixture(scope="module")
async def unserved(systems: Systems) -> AsyncIterator[System]:
    async with systems("queries") as system:
        yield system


async def test_a_query_that_a_new_worker_answers_among_signals_changes_nothing(unserved: System) -> None:
    commands = [a_place_order() for _ in range(ORDERS)]
    handles = [unserved.handle(command.order_id) for command in commands]

    async def asked_then_shipped(place: int) -> OrderRecord:
        state = await handles[place].query(OrderWorkflow.order)
        await handles[place].signal(OrderWorkflow.update_status, StatusSignal(status=SHIPPED))
        return state.record

    async def all_are_projected() -> bool:
        return all([await unserved.dispatcher.find_placed(command) for command in commands])

    async with unserved.workers():
        for command in commands:
            await unserved.dispatcher.place(command, wait=False)
        await eventually(all_are_projected)
    queries = [asyncio.create_task(asked_then_shipped(place)) for place in range(ORDERS)]
    await asyncio.sleep(1)
    for handle in handles:
        await handle.signal(OrderWorkflow.update_status, StatusSignal(status=PROCESSING))
    async with unserved.workers():
        await asyncio.gather(*queries)

        async def all_are_shipped() -> bool:
            states = await asyncio.gather(*(handle.query(OrderWorkflow.order) for handle in handles))
            return all(state.record.order.status is SHIPPED for state in states)

        await eventually(all_are_shipped)

    for handle in handles:
        await a_replayer().replay_workflow(await handle.fetch_history())
