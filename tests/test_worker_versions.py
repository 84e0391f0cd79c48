"""Worker versioning by the commands of docs/releases.md: two builds side by side, on a real server."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowHandle

from embedded.temporal import find_temporal
from orders.names import PROMOTION_SCHEDULE_ID
from orders.status import OrderStatus
from schedule import declare
from settings import ROOT
from tests.builders import a_change, a_place_order
from tests.conftest import Systems
from tests.processes import Run, servers_of, started
from tests.system import PATIENCE_SECONDS, System, eventually

PROCESSING, SHIPPED = OrderStatus.PROCESSING, OrderStatus.SHIPPED

DEPLOYMENT = "orders"
SET_CURRENT = (
    "temporal worker deployment set-current-version --deployment-name orders --build-id $BUILD --yes"
)
LEAVE = "temporal worker deployment set-current-version --deployment-name orders --unversioned --yes"
DESCRIBE = "temporal worker deployment describe-version --deployment-name orders --build-id $BUILD"


@pytest.mark.parametrize("command", [SET_CURRENT, LEAVE, DESCRIBE])
def test_the_commands_that_are_tried_here_are_those_that_people_read(command: str) -> None:
    assert command in (ROOT / "docs/releases.md").read_text("utf-8")


@pytest.fixture(scope="module")
async def versioned(systems: Systems) -> AsyncIterator[System]:
    """A system whose schedule fires when it is triggered, and in which only a test's workers run."""
    changes = {"promotion_interval": 86_400, "answer_deadline": PATIENCE_SECONDS}
    async with systems("versions") as made:
        system = replace(made, settings=made.settings.model_copy(update=changes))
        await declare(system.client, system.settings)
        yield system


async def temporal(system: System, command: str, build: str = "") -> tuple[bool, str]:
    """Run the command line as a person would; whether it succeeded, and what it said."""
    _, *arguments = shlex.split(command.replace("$BUILD", build))
    environment = {
        "TEMPORAL_ADDRESS": servers_of(system)["TEMPORAL_ADDRESS"],
        "TEMPORAL_NAMESPACE": system.client.namespace,
    }
    process = await asyncio.create_subprocess_exec(
        find_temporal(),
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode == 0, said.decode()


async def until_done(system: System, command: str, build: str = "") -> None:
    """Repeat the command until it succeeds: the server learns of a version from its first polls."""

    async def is_done() -> bool:
        return (await temporal(system, command, build))[0]

    await eventually(is_done)


async def make_current(system: System, command: str, build_id: str = "") -> None:
    """Run the command, and wait until every queue has heard of it, which takes the server a second or so."""
    await until_done(system, command, build_id)

    async def is_known_everywhere() -> bool:
        deployment = await system.client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=system.client.namespace, deployment_name=DEPLOYMENT)
        )
        state = deployment.worker_deployment_info.routing_config_update_state
        return state == RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_COMPLETED

    await eventually(is_known_everywhere)


async def drainage(system: System, build: str) -> str:
    _, said = await temporal(system, f"{DESCRIBE} --output json", build)
    described: dict[str, Any] = json.loads(said)
    return str(described.get("drainageInfo", {}).get("drainageStatus", ""))


@asynccontextmanager
async def worker(system: System, **version: str) -> AsyncIterator[Run]:
    async with started("-m", "worker", **servers_of(system), **version) as run:
        await run.until_said("Serving")
        yield run


def build(system: System, build_id: str) -> AbstractAsyncContextManager[Run]:
    """A worker of a version."""
    return worker(system, ORDERS_WORKER_DEPLOYMENT=DEPLOYMENT, ORDERS_WORKER_BUILD_ID=build_id)


async def place(system: System) -> UUID:
    command = a_place_order()
    assert await system.dispatcher.place(command, wait=True) is not None
    return command.order_id


async def change(system: System, order_id: UUID, status: OrderStatus) -> None:
    assert await system.dispatcher.change(order_id, a_change(status), wait=True) is not None


async def last_worker(handle: WorkflowHandle[Any, Any]) -> str:
    """Who has carried out the latest task of the workflow."""
    history = await handle.fetch_history()
    identities = [
        event.workflow_task_completed_event_attributes.identity
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    return identities[-1] if identities else "nobody"


async def until_last_worker_of(system: System, order_id: UUID, expected: Run) -> None:
    async def it_was() -> bool:
        return await last_worker(system.handle(order_id)) == expected.identity

    await eventually(it_was)


async def promoted_by(system: System) -> str:
    """Trigger the schedule; who has carried out its sweep."""
    schedule = system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID)
    before = len((await schedule.describe()).info.recent_actions)
    await schedule.trigger()

    async def is_started() -> bool:
        return len((await schedule.describe()).info.recent_actions) > before

    await eventually(is_started)
    action = (await schedule.describe()).info.recent_actions[-1].action
    assert isinstance(action, ScheduleActionExecutionStartWorkflow)
    handle = system.client.get_workflow_handle(action.workflow_id, run_id=action.first_execution_run_id)
    await handle.result()
    return await last_worker(handle)


@pytest.mark.slow
async def test_orders_and_promotions_move_on_to_the_version_that_is_current(versioned: System) -> None:
    async with worker(versioned) as unversioned:
        oldest = await place(versioned)
        async with build(versioned, "1.0") as first:
            old = await place(versioned)
            await until_last_worker_of(versioned, old, unversioned)

            await make_current(versioned, SET_CURRENT, "1.0")
            await change(versioned, oldest, PROCESSING)
            await until_last_worker_of(versioned, oldest, first)
            await unversioned.asked_to_stop()

            async with build(versioned, "1.1") as second:
                await change(versioned, old, PROCESSING)
                await until_last_worker_of(versioned, old, first)

                await make_current(versioned, SET_CURRENT, "1.1")
                new = await place(versioned)
                await change(versioned, oldest, SHIPPED)
                await change(versioned, old, SHIPPED)
                for order_id in (new, oldest, old):
                    await until_last_worker_of(versioned, order_id, second)
                assert await promoted_by(versioned) == second.identity

                async def is_drained() -> bool:
                    return await drainage(versioned, "1.0") == "drained"

                await eventually(is_drained)
                await first.asked_to_stop()

                await change(versioned, old, OrderStatus.DELIVERED)
                await until_last_worker_of(versioned, old, second)


@pytest.mark.slow
async def test_going_back_is_making_the_old_version_current_again(versioned: System) -> None:
    async with build(versioned, "2.0") as old, build(versioned, "2.1"):
        for build_id in ("2.0", "2.1"):
            await make_current(versioned, SET_CURRENT, build_id)
        order_id = await place(versioned)

        await make_current(versioned, SET_CURRENT, "2.0")
        await change(versioned, order_id, PROCESSING)
        await until_last_worker_of(versioned, order_id, old)


@pytest.mark.slow
async def test_versioning_can_be_left_again(versioned: System) -> None:
    async with build(versioned, "3.0") as last, worker(versioned) as unversioned:
        await make_current(versioned, SET_CURRENT, "3.0")
        running = await place(versioned)
        await until_last_worker_of(versioned, running, last)

        await make_current(versioned, LEAVE)
        await until_last_worker_of(versioned, await place(versioned), unversioned)

        # An order that a worker has in memory stays with it until the worker stops.
        await last.asked_to_stop()
        await change(versioned, running, PROCESSING)
        await until_last_worker_of(versioned, running, unversioned)


@pytest.mark.slow
async def test_a_version_that_nobody_made_current_carries_out_nothing(versioned: System) -> None:
    command = a_place_order()
    impatient = versioned.dispatcher_that_waits(1.0)
    async with build(versioned, "4.0") as waiting:
        assert await impatient.place(command, wait=True) is None

        await make_current(versioned, SET_CURRENT, "4.0")
        await until_last_worker_of(versioned, command.order_id, waiting)
    await make_current(versioned, LEAVE + " --allow-no-pollers")
