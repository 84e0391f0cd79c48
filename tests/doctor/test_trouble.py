"""Orders that no projection can mend: each is named with what to do, and doing it helps."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from database.projection import project
from database.queries import get_record
from doctor.findings import Finding, Kind
from doctor.revival import CannotRevive, revive
from doctor.temporal import CouldNotLook
from embedded.temporal import find_temporal
from orders.names import ORDERS_QUEUE, workflow_id
from orders.status import OrderStatus
from tests.builders import a_place_order, a_record
from tests.conftest import Systems
from tests.doctor.conftest import Nobody, Ward
from tests.processes import run_to_its_end, servers_of
from tests.system import System
from workflows.order import OrderWorkflow
from workflows.state import OrderInput

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

ONE_BACK = (
    "UPDATE orders SET status = 'PENDING', version = 1, updated_at = created_at WHERE id = :id",
    "DELETE FROM order_status_history WHERE order_id = :id AND version > 1",
)


@pytest.fixture(scope="module")
async def unserved(systems: Systems) -> AsyncIterator[System]:
    """A system in which no worker runs."""
    async with systems("doctor-unserved") as system:
        yield system


async def the_finding(ward: Ward) -> Finding:
    (finding,) = (await ward.examine()).findings
    return finding


async def follow(ward: Ward, advice: str) -> None:
    """Do what the doctor says, as a person would."""
    program, *arguments = shlex.split(advice)
    environment = servers_of(ward.system)
    if program == "orders":
        code, _ = await run_to_its_end("-m", "cli", *arguments, **environment)
    else:
        assert program == "temporal"
        temporal = await asyncio.create_subprocess_exec(find_temporal(), *arguments, env=environment)
        code = await temporal.wait()
    assert code == 0


async def goes_on(ward: Ward, order_id: UUID, status: OrderStatus) -> None:
    """Move the order, and find it well."""
    await ward.system.handle(order_id).signal("update_status", {"status": status})
    await ward.until_projected(order_id)
    stored = await ward.stored(order_id)
    assert stored
    assert stored.order.status is status
    assert await ward.kinds(deep=True) == {}


@pytest.mark.parametrize(("moves", "then"), [((), PROCESSING), ((PROCESSING,), SHIPPED)])
async def test_an_order_whose_workflow_was_terminated_goes_on_once_it_is_reset(
    ward: Ward, moves: tuple[OrderStatus, ...], then: OrderStatus
) -> None:
    order_id = await ward.place(*moves)
    await ward.system.handle(order_id).terminate()

    finding = await the_finding(ward)
    assert (finding.order_id, finding.kind) == (order_id, Kind.FINISHED_BUT_OPEN)
    await follow(ward, finding.todo)

    await goes_on(ward, order_id, then)


async def test_a_terminated_order_that_is_stale_too_is_mended_as_far_as_it_goes(ward: Ward) -> None:
    order_id = await ward.place(PROCESSING)
    await ward.system.handle(order_id).terminate()
    await ward.harm(order_id, *ONE_BACK)

    found = await ward.kinds()
    left = (await ward.examine(repair=True)).left

    assert found == {order_id: [Kind.STALE, Kind.FINISHED_BUT_OPEN]}
    assert [finding.kind for finding in left] == [Kind.FINISHED_BUT_OPEN]
    assert await ward.stored(order_id) == await ward.truth(order_id)
    await follow(ward, left[0].todo)


async def test_an_open_order_that_temporal_does_not_know_goes_on_once_it_is_revived(ward: Ward) -> None:
    order_id = await ward.place(PROCESSING)
    before = await ward.stored(order_id)
    await ward.lose_workflow(order_id)

    finding = await the_finding(ward)
    assert (finding.order_id, finding.kind) == (order_id, Kind.UNKNOWN)
    await follow(ward, finding.todo)

    assert await ward.truth(order_id) == before
    await goes_on(ward, order_id, SHIPPED)


async def test_repair_leaves_an_unknown_order_to_a_person(ward: Ward) -> None:
    order_id = await ward.store(a_record())

    left = (await ward.examine(repair=True)).left

    assert [finding.kind for finding in left] == [Kind.UNKNOWN]
    assert (await ward.system.client.count_workflows(f"WorkflowId = '{workflow_id(order_id)}'")).count == 0


async def test_an_unknown_order_that_does_not_hold_together_is_not_revived(ward: Ward) -> None:
    order_id = await ward.store(a_record())
    await ward.harm(order_id, "DELETE FROM order_items WHERE order_id = :id")

    finding = await the_finding(ward)

    assert finding.kind is Kind.UNKNOWN
    assert finding.todo.startswith("restore its rows from a backup, then: ")
    with pytest.raises(CannotRevive, match="does not hold together in PostgreSQL: items are missing"):
        await revive(ward.system.engine, ward.system.client, order_id)


async def test_only_an_open_order_without_a_workflow_is_revived(ward: Ward) -> None:
    running, terminated = await ward.place(), await ward.place()
    over = await ward.store(a_record(CANCELLED))
    await ward.system.handle(terminated).terminate()

    for order_id, reason in {
        uuid4(): "PostgreSQL has no order",
        over: "is over",
        running: "has a workflow",
        terminated: "has a workflow",
    }.items():
        with pytest.raises(CannotRevive, match=reason):
            await revive(ward.system.engine, ward.system.client, order_id)
    await follow(ward, (await the_finding(ward)).todo)


async def test_an_order_that_is_over_and_forgotten_by_temporal_is_well(ward: Ward) -> None:
    await ward.store(a_record(CANCELLED))

    assert await ward.kinds(deep=True) == {}


async def test_a_forgotten_order_whose_rows_contradict_each_other_is_damaged(ward: Ward) -> None:
    order_id = await ward.store(a_record(CANCELLED))
    await ward.harm(order_id, "UPDATE orders SET total_amount = 1 WHERE id = :id")

    finding = await the_finding(ward)

    assert finding.kind is Kind.DAMAGED
    assert finding.detail.endswith("the items do not add up to the total")
    assert "backup" in finding.todo


async def test_a_workflow_that_does_not_answer_is_named_where_others_do(ward: Ward) -> None:
    order_id = await start_where_nobody_serves(ward.system)
    ward.ids.append(order_id)
    stale = await ward.place(PROCESSING)
    await ward.harm(stale, *ONE_BACK)

    examination = await ward.examine(repair=True, patience=8, pauses=())

    kinds = {finding.order_id: finding.kind for finding in examination.left}
    assert kinds == {order_id: Kind.SILENT}
    assert examination.findings != examination.left


async def test_a_workflow_that_alone_does_not_answer_hides_nothing(ward: Ward) -> None:
    order_id = await start_where_nobody_serves(ward.system)
    ward.ids.append(order_id)

    examination = await ward.examine(patience=8, pauses=())

    assert [(it.order_id, it.kind) for it in examination.findings] == [(order_id, Kind.SILENT)]


async def test_an_order_that_was_placed_again_after_temporal_had_forgotten_it_stays_as_it_was(
    ward: Ward,
) -> None:
    place = a_place_order()
    ward.ids.append(place.order_id)
    first = a_record(PROCESSING, SHIPPED, DELIVERED, placing=place)
    await project(ward.system.engine, first)
    assert not (await ward.examine()).findings
    await ward.system.dispatcher.place(place, wait=False)

    [found] = (await ward.examine(repair=True)).left

    assert found.kind is Kind.SECOND_LIFE
    assert await get_record(ward.system.engine, place.order_id) == first
    await follow(ward, found.todo)
    assert not (await ward.examine(repair=True)).findings
    assert await get_record(ward.system.engine, place.order_id) == first


async def test_a_workflow_that_ended_before_it_began_is_named(ward: Ward) -> None:
    order_id = await start_where_nobody_serves(ward.system)
    ward.ids.append(order_id)
    await ward.system.handle(order_id).terminate()

    finding = await the_finding(ward)

    assert finding.kind is Kind.SILENT
    assert finding.detail.startswith("its workflow is terminated and does not answer: ")


async def start_where_nobody_serves(system: System) -> UUID:
    place = a_place_order()
    await system.client.start_workflow(
        OrderWorkflow.run, OrderInput(place=place), id=workflow_id(place.order_id), task_queue="nobody"
    )
    return place.order_id


async def test_without_a_worker_nothing_is_said_of_any_order(unserved: System) -> None:
    place = a_place_order()
    await unserved.client.start_workflow(
        OrderWorkflow.run, OrderInput(place=place), id=workflow_id(place.order_id), task_queue=ORDERS_QUEUE
    )

    with pytest.raises(CouldNotLook, match=r"No workflow answers .*does a worker serve the orders"):
        await Ward(unserved).doctor(patience=1).examine(Nobody())
