import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import WorkflowHandle

from database import queries
from doctor.checkup import CheckupWorkflow
from embedded.child import free_port
from orders.names import PROMOTION_QUEUE, workflow_id
from orders.order import Order
from orders.status import OrderStatus
from tests.builders import a_change, a_place_order
from tests.conftest import Systems
from tests.processes import Run, run_to_its_end, servers_of, started
from tests.system import PATIENCE_SECONDS, System, eventually
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
        async with while_nobody_can_write(unserved):
            order_id = await place(unserved)
            await eventually(partial(somebody_waits_to_write, unserved))
            worker.send(number)
            await worker.until_said("Finishing what is in hand")
        assert await worker.until_ended() == 0

    assert await statuses(unserved, order_id) == [OrderStatus.PENDING]
    assert await carried_out_by(unserved.handle(order_id)) == {worker.identity}


async def test_a_command_that_finds_its_worker_killed_is_carried_out_once_by_the_next(
    unserved: System,
) -> None:
    impatient = unserved.dispatcher_that_waits(NOT_LONG)
    patient = unserved.dispatcher_that_waits(PATIENCE_SECONDS)
    command = a_change(OrderStatus.PROCESSING)
    async with serving(unserved, "orders") as worker:
        order_id = await place(unserved)
        await until_it_has_been(unserved, order_id, OrderStatus.PENDING)
        worker.child.kill()
        assert await worker.until_ended() == -signal.SIGKILL
    await forget_the_dead_worker(unserved, order_id)

    meanwhile = [await impatient.change(order_id, command, wait=True) for _ in range(2)]
    async with serving(unserved, "orders"):
        answer = await patient.change(order_id, command, wait=True)

    assert meanwhile == [None, None]
    assert answer is not None
    assert answer.order.status is OrderStatus.PROCESSING
    assert await statuses(unserved, order_id) == [OrderStatus.PENDING, OrderStatus.PROCESSING]


@asynccontextmanager
async def while_nobody_can_write(system: System) -> AsyncIterator[None]:
    async with system.engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            await connection.execute(text("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"))
            yield


async def somebody_waits_to_write(system: System) -> bool:
    waiting = text("SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted")
    async with system.engine.connect() as connection:
        return bool((await connection.execute(waiting)).scalar_one())


async def forget_the_dead_worker(system: System, order_id: UUID) -> None:
    """Do at once what Temporal does after ten seconds: offer the order to other workers."""
    await system.client.workflow_service.reset_sticky_task_queue(
        ResetStickyTaskQueueRequest(
            namespace=system.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id(order_id)),
        )
    )


async def test_a_workers_log_for_machines_names_the_workflow_of_each_order(unserved: System) -> None:
    async with serving(unserved, "orders", ORDERS_LOG_FORMAT="json") as worker:
        order_id = await place(unserved)
        await unserved.dispatcher.change(order_id, a_change(OrderStatus.CANCELLED), wait=True)
        await worker.until_said("CANCELLED by warehouse")

    entries = [json.loads(line) for line in worker.log]
    assert {entry["process"] for entry in entries} == {"worker"}
    assert [entry["workflow_id"] for entry in entries if entry["event"] == "CANCELLED by warehouse"] == [
        workflow_id(order_id)
    ]


# What cannot work


async def refusal(*arguments: str, **environment: str) -> str:
    """The one line in which a worker says why it does not start."""
    code, log = await run_to_its_end("-m", "worker", *arguments, **environment)
    assert code == 2, log
    (line,) = log
    return line


async def test_a_missing_database_is_one_line() -> None:
    assert (await refusal()).startswith("worker: DATABASE_URL is not set: ")


async def test_an_address_where_no_temporal_answers_is_one_line_that_names_its_variable() -> None:
    address = f"127.0.0.1:{free_port()}"

    line = await refusal(DATABASE_URL="postgresql://db/orders", TEMPORAL_ADDRESS=address)

    assert line.startswith(f"worker: Temporal does not answer at {address} (TEMPORAL_ADDRESS): ")


async def test_an_unknown_role_is_refused_with_those_that_there_are() -> None:
    code, log = await run_to_its_end("-m", "worker", "--serve", "everything")

    assert code == 2
    assert "orders|promotion|all" in log[0]
    assert "everything" in log[-1]
    assert len(log) == 2


@pytest.mark.parametrize("role", ["orders", "all"])
async def test_a_namespace_that_does_not_exist_ends_the_worker_with_one_line(
    unserved: System, role: str
) -> None:
    environment = servers_of(unserved) | {"TEMPORAL_NAMESPACE": "missing", "LOG_LEVEL": "ERROR"}

    line = await refusal("--serve", role, **environment)

    assert line.startswith("worker: ")
    assert "missing" in line
    assert "TEMPORAL_NAMESPACE" in line


async def test_a_worker_that_still_waits_for_temporal_can_be_stopped(unserved: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        address = "{}:{}".format(*silent.getsockname())
        environment = servers_of(unserved) | {"TEMPORAL_ADDRESS": address}
        async with started("-m", "worker", **environment) as worker:
            line, _ = await asyncio.to_thread(silent.accept)
            with line:
                assert await worker.asked_to_stop() in {0, 128 + signal.SIGTERM}


async def test_what_the_checkup_found_is_served_to_prometheus(unserved: System) -> None:
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}/metrics"

    async with serving(unserved, ORDERS_METRICS_ADDRESS=address), httpx2.AsyncClient() as http:
        await unserved.client.execute_workflow(
            CheckupWorkflow.run, id=f"checkup-{uuid4()}", task_queue=PROMOTION_QUEUE
        )

        async def it_is_there() -> bool:
            return "orders_findings{" in (await http.get(url)).text

        await eventually(it_is_there)
        metrics = (await http.get(url)).text

    assert 'kind="missing"' in metrics
    assert "orders_examined" in metrics
    assert "temporal_worker_task_slots_available" in metrics


async def test_metrics_cannot_be_served_at_an_address_that_is_taken(unserved: System) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        arguments = ("-m", "worker", "--serve", "orders")
        code, log = await run_to_its_end(*arguments, **servers_of(unserved), ORDERS_METRICS_ADDRESS=address)

    assert code == 2
    assert log[-1].startswith(f"worker: ORDERS_METRICS_ADDRESS: cannot serve metrics at {address}: ")
