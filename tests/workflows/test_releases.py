"""What docs/releases.md promises of a change to the workflow's code while orders are running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, Worker

from activities.projection import ProjectionActivities
from activities.promotion import FindPage, Page
from connection import DATA_CONVERTER
from orders.commands import NewLineItem, PlaceOrder
from orders.names import ORDERS_QUEUE, workflow_id
from orders.order import LineItem, Order, OrderKey, OrderRecord, StatusChange
from orders.signals import CancelSignal, StatusSignal
from orders.status import OrderStatus
from tests.builders import a_place_order, a_record
from tests.conftest import EVENTS_IN_A_RUN, Servers, system_in
from tests.system import PATIENCE_SECONDS, STRICT_SANDBOX, System, eventually
from tests.workflows.conftest import AnOrder
from tests.workflows.record_histories import HISTORIES
from tests.workflows.releases import (
    ANNOUNCE,
    Announcing,
    AnnouncingAlways,
    AnnouncingUnpatched,
    AskingWhy,
    AskingWhyUnpatched,
    announce,
)
from workflows.order import OrderWorkflow
from workflows.promotion import Sweep, SweepResult
from workflows.state import OrderInput, OrderState, Rejection

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

RECORDED = {
    path.stem: WorkflowHistory.from_json(workflow_id=path.stem, history=path.read_text())
    for path in sorted(HISTORIES.glob("*-order-*.json"))
}


@pytest.fixture(scope="module")
async def released(servers: Servers) -> AsyncIterator[System]:
    """A system with no workers but those of a test; its histories need not replay with the code of today."""
    async with system_in(servers, "releases") as made:
        yield replace(made, settings=made.settings.model_copy(update={"answer_deadline": PATIENCE_SECONDS}))


@asynccontextmanager
async def release(system: System, code: type[OrderWorkflow]) -> AsyncIterator[None]:
    """A worker with the code, until the block ends."""
    async with Worker(
        system.client,
        task_queue=ORDERS_QUEUE,
        workflows=[code],
        activities=[ProjectionActivities(system.engine).project_order, announce],
        workflow_runner=STRICT_SANDBOX,
    ):
        yield


async def place(system: System) -> AnOrder:
    command = a_place_order()
    assert await system.dispatcher.place(command, wait=True) is not None
    return AnOrder(system=system, id=command.order_id, customer_id=command.customer_id)


async def runs(order: AnOrder) -> list[WorkflowHistory]:
    """The history of each run of the order, oldest first."""
    client = order.system.client
    found = [it async for it in client.list_workflows(f"WorkflowId = '{workflow_id(order.id)}'")]
    return [
        await client.get_workflow_handle(it.id, run_id=it.run_id).fetch_history()
        for it in sorted(found, key=lambda it: it.start_time)
    ]


def announced(history: WorkflowHistory) -> int:
    """How many changes the run has announced."""
    return sum(
        event.activity_task_scheduled_event_attributes.activity_type.name == "announce"
        for event in history.events
    )


async def replays(history: WorkflowHistory, code: type[OrderWorkflow]) -> bool:
    """What the gate says of the code."""
    replayer = Replayer(workflows=[code], data_converter=DATA_CONVERTER, workflow_runner=STRICT_SANDBOX)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure is None


# A new activity


async def test_an_order_that_is_taken_over_in_mid_life_goes_on_as_it_began(released: System) -> None:
    async with release(released, OrderWorkflow):
        order = await place(released)
        await order.change(PROCESSING)

    async with release(released, Announcing):
        await order.change(SHIPPED)
        await order.change(DELIVERED)
        finished = await order.handle.result()

    [history] = await runs(order)
    assert finished.status is DELIVERED
    assert (announced(history), await replays(history, Announcing)) == (0, True)


async def test_an_order_that_begins_after_the_change_has_it_from_the_start(released: System) -> None:
    async with release(released, Announcing):
        order = await place(released)
        await order.change(PROCESSING)

    [history] = await runs(order)
    assert (announced(history), await replays(history, Announcing)) == (2, True)


async def test_an_order_that_continues_as_new_has_the_change_from_its_next_run_on(released: System) -> None:
    async with release(released, OrderWorkflow):
        order = await place(released)

    async with release(released, Announcing):
        refused = (order.signal(SHIPPED, command_id=str(it)) for it in range(EVENTS_IN_A_RUN))
        await asyncio.gather(*refused)

        async def has_continued() -> bool:
            return len(await runs(order)) > 1

        await eventually(has_continued)
        await order.change(PROCESSING)
        await order.change(SHIPPED)

    first, *rest = await runs(order)
    assert announced(first) == 0
    assert sum(announced(run) for run in rest) == 2
    assert [await replays(run, Announcing) for run in (first, *rest)] == [True] * (1 + len(rest))


async def test_orders_that_do_not_have_the_change_yet_can_be_counted(released: System) -> None:
    async with release(released, OrderWorkflow):
        before = await place(released)
    async with release(released, Announcing):
        after = await place(released)

        async def found(query: str) -> set[str]:
            return {it.id async for it in released.client.list_workflows(f"{RUNNING} AND {query}")}

        async def is_known() -> bool:
            return workflow_id(after.id) in await found(f"TemporalChangeVersion = '{ANNOUNCE}'")

        await eventually(is_known)
        without = await found("TemporalChangeVersion IS NULL")

    assert workflow_id(before.id) in without
    assert workflow_id(after.id) not in without


RUNNING = "WorkflowType = 'OrderWorkflow' AND ExecutionStatus = 'Running'"


# A new rule


async def test_a_rule_that_moves_holds_for_running_orders_from_then_on(released: System) -> None:
    async with release(released, OrderWorkflow):
        cancelled, open_ = await place(released), await place(released)
        await cancelled.change(CANCELLED)

    async with release(released, AskingWhy):
        await open_.handle.signal("cancel")
        [rejection] = (await open_.state()).rejections
        await open_.handle.signal(OrderWorkflow.cancel, CancelSignal(reason="too late"))
        assert (await open_.handle.result()).status is CANCELLED
        assert await cancelled.history() == [PENDING, CANCELLED]

    assert rejection.reason == "reason: is missing, and a cancellation needs one"
    for order in (cancelled, open_):
        assert [await replays(run, AskingWhy) for run in await runs(order)] == [True]


# The gate


@pytest.mark.parametrize("code", [Announcing, AskingWhy])
async def test_a_change_behind_a_patch_passes_the_gate(code: type[OrderWorkflow]) -> None:
    assert {name for name, history in RECORDED.items() if not await replays(history, code)} == set()


@pytest.mark.parametrize(
    ("code", "caught_by"),
    [(AnnouncingUnpatched, set(RECORDED)), (AskingWhyUnpatched, {"2-order-cancelled-1"})],
)
async def test_the_same_change_without_its_patch_is_stopped_by_the_gate(
    code: type[OrderWorkflow], caught_by: set[str]
) -> None:
    assert {name for name, history in RECORDED.items() if not await replays(history, code)} >= caught_by


async def test_a_patch_cannot_be_taken_out_before_the_last_order_without_it_is_over(
    released: System,
) -> None:
    async with release(released, Announcing):
        order = await place(released)
    [history] = await runs(order)

    assert await replays(history, AnnouncingAlways)
    assert not any([await replays(it, AnnouncingAlways) for it in RECORDED.values()])


# Going back


async def test_a_release_that_is_rolled_back_keeps_the_commands_that_only_it_can_carry_out(
    released: System,
) -> None:
    async with release(released, Announcing):
        order = await place(released)
    [history] = await runs(order)
    assert not await replays(history, OrderWorkflow)

    async with release(released, OrderWorkflow):
        await order.signal(PROCESSING, command_id="kept")

        async def has_failed() -> bool:
            [run] = await runs(order)
            return any(it.HasField("workflow_task_failed_event_attributes") for it in run.events)

        await eventually(has_failed)
    async with release(released, Announcing):
        await order.until_projected()

    assert await order_history(order) == [PENDING, PROCESSING]


async def order_history(order: AnOrder) -> list[OrderStatus]:
    record = await order.projected()
    return [change.new_status for change in record.history] if record else []


# Two releases at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterSignal(StatusSignal):
    """What the API of a later release sends: a field that this one's workers do not know."""

    carrier: str | None = None
    ignorable: tuple[str, ...] = ("sent_at",)


@pytest.mark.parametrize("later", [{}, {"carrier": "DHL", "ignorable": ("carrier",)}])
async def test_a_worker_carries_out_what_the_api_of_a_later_release_asks(
    released: System, later: dict[str, Any]
) -> None:
    async with release(released, OrderWorkflow):
        order = await place(released)
        await order.handle.signal("update_status", LaterSignal(status=PROCESSING, **later))

        assert await order.history() == [PENDING, PROCESSING]


async def test_a_worker_refuses_a_condition_that_it_does_not_know(released: System) -> None:
    async with release(released, OrderWorkflow):
        order = await place(released)
        await order.handle.signal("update_status", LaterSignal(status=PROCESSING, carrier="DHL"))

        [rejection] = (await order.state()).rejections
        assert await order.history() == [PENDING]

    assert rejection.reason.startswith("signal: may have status, command_id, ")


Traveller = OrderInput | OrderState | OrderRecord | Order | Sweep | SweepResult | FindPage | Page

PLACE = a_place_order(order_id=UUID(int=1))
RECORD = a_record(PROCESSING, SHIPPED, placing=PLACE)
KEY = OrderKey(created_at=RECORD.order.created_at, order_id=RECORD.order.id)
REJECTION = Rejection.of(CancelSignal(), RECORD.order.updated_at, reason="late")
STATE = OrderState(record=RECORD, projected_version=2, rejections=(REJECTION,))
TRAVELLERS = (
    OrderInput(place=PLACE),
    OrderInput(carried=STATE),
    STATE,
    RECORD,
    RECORD.order,
    Sweep(placed_before=RECORD.order.created_at, after=KEY, signalled=3),
    SweepResult(placed_before=RECORD.order.created_at, signalled=3),
    FindPage(placed_before=RECORD.order.created_at, after=KEY),
    Page(placed_before=RECORD.order.created_at, after=None, until=KEY),
)


def with_more(value: object) -> object:
    """The same payload, with a field more in every object."""
    if isinstance(value, dict):
        return {name: with_more(it) for name, it in value.items()} | {"of_a_later_release": [1]}
    if isinstance(value, list | tuple):
        return [with_more(it) for it in value]
    return value


@pytest.mark.parametrize("traveller", TRAVELLERS, ids=lambda it: type(it).__name__)
async def test_what_travels_is_read_although_a_later_release_has_written_more(traveller: Traveller) -> None:
    later = await DATA_CONVERTER.encode([with_more(asdict(traveller))])

    assert await DATA_CONVERTER.decode(later, [type(traveller)]) == [traveller]


# What must be there to read each shape. This may shrink; a field that is added has a default.
REQUIRED = {
    OrderInput: set(),
    OrderState: {"record"},
    Rejection: {"command_id", "status", "changed_by", "rejected_at", "reason"},
    OrderRecord: {"order", "history"},
    Order: {
        "id",
        "customer_id",
        "status",
        "currency",
        "total_amount",
        "items",
        "version",
        "created_at",
        "updated_at",
    },
    LineItem: {"id", "product_id", "quantity", "unit_price"},
    StatusChange: {
        "version",
        "old_status",
        "new_status",
        "changed_at",
        "changed_by",
        "reason",
        "command_id",
    },
    PlaceOrder: {"order_id", "customer_id", "items"},
    NewLineItem: {"product_id", "quantity", "unit_price"},
    StatusSignal: {"status"},
    CancelSignal: set(),
    Sweep: set(),
    SweepResult: {"placed_before", "signalled"},
    FindPage: {"placed_before"},
    Page: {"placed_before", "after", "until"},
    OrderKey: {"created_at", "order_id"},
}


@pytest.mark.parametrize("shape", REQUIRED, ids=lambda it: it.__name__)
def test_what_an_earlier_release_has_written_can_be_read(shape: type[Traveller]) -> None:
    required = {it.name for it in fields(shape) if it.default is MISSING and it.default_factory is MISSING}

    assert required <= REQUIRED[shape]
