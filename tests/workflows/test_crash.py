import asyncio
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orders.names import ORDERS_QUEUE, workflow_id
from orders.status import OrderStatus
from settings import ROOT
from tests.builders import a_place_order
from tests.conftest import Servers, Systems
from tests.system import System, eventually
from tests.workflows.conftest import AnOrder
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

PENDING, PROCESSING, SHIPPED, _, _ = OrderStatus


async def place_with_short_tasks(system: System) -> AnOrder:
    """An order whose tasks are given up soon, so that the test need not wait ten seconds for it."""
    place = a_place_order()
    await system.client.start_workflow(
        OrderWorkflow.run,
        OrderInput(place=place),
        id=workflow_id(place.order_id),
        task_queue=ORDERS_QUEUE,
        task_timeout=timedelta(seconds=2),
    )
    return AnOrder(system=system, id=place.order_id, customer_id=place.customer_id)


@pytest.mark.parametrize("says_when", [True, False])
async def test_a_decision_that_was_projected_but_lost_in_a_crash_is_made_again_just_as_it_was(
    systems: Systems,
    servers: Servers,
    says_when: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    async with systems("crash-timed" if says_when else "crash") as system:
        order = await place_with_short_tasks(system)
        dying = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.workflows.dying_worker",
            servers.temporal_address,
            system.client.namespace,
            system.settings.require_database_url(),
            cwd=ROOT,
        )
        await eventually(lambda: has_version(order, 1))

        await order.signal(PROCESSING, sent_at=datetime.now(UTC) if says_when else None)
        assert await asyncio.wait_for(dying.wait(), 30) == -signal.SIGKILL
        await order.signal(OrderStatus.CANCELLED)
        ahead = await order.projected()
        async with system.workers():
            await order.signal(SHIPPED)
            await order.until_projected()
            state = await order.state()

    assert ahead is not None
    assert [change.new_status for change in ahead.history] == [PENDING, PROCESSING]
    assert [change.new_status for change in state.record.history] == [PENDING, PROCESSING, SHIPPED]
    assert [rejection.reason for rejection in state.rejections] == [
        "Cannot cancel order with status PROCESSING"
    ]
    made_again, projected = state.record.history[1], ahead.history[1]
    assert made_again == replace(projected, changed_at=made_again.changed_at)
    # Where the sender says nothing of the time, it is that of the task that decides.
    assert (made_again == projected) is says_when
    assert made_again.changed_at >= projected.changed_at


async def has_version(order: AnOrder, version: int) -> bool:
    record = await order.projected()
    return record is not None and record.order.version == version
