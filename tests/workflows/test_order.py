import asyncio

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from orders.order import Order
from orders.signals import CancelSignal, StatusSignal
from orders.status import OrderStatus
from tests.conftest import EVENTS_IN_A_RUN
from tests.system import eventually
from tests.workflows.conftest import AnOrder
from workflows.order import REMEMBERED_REJECTIONS, OrderWorkflow

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus
LIFE = (PROCESSING, SHIPPED, DELIVERED)
ONE_FULL_LIFE_IN_EVENTS = 30


async def test_an_order_lives_from_pending_to_delivered(order: AnOrder) -> None:
    statuses = [(await order.change(status)).status for status in LIFE]

    assert statuses == [*LIFE]
    assert (await order.handle.result()).status is DELIVERED
    assert (await order.handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_a_full_life_stays_within_the_history_budget(order: AnOrder) -> None:
    for status in LIFE:
        await order.change(status)
    await order.handle.result()

    assert (await order.handle.describe()).history_length <= ONE_FULL_LIFE_IN_EVENTS


async def test_a_finished_order_is_projected_before_its_workflow_ends(order: AnOrder) -> None:
    await order.signal(CANCELLED)

    finished = await order.handle.result()

    record = await order.projected()
    assert record is not None
    assert record.order == finished


async def test_a_repeated_command_is_carried_out_once(order: AnOrder) -> None:
    for _ in range(3):
        await order.signal(PROCESSING, command_id="once")

    state = await order.state()

    assert await order.history() == [PENDING, PROCESSING]
    assert state.rejections == ()


async def test_an_id_names_one_command_only(order: AnOrder) -> None:
    await order.signal(PROCESSING, command_id="once")
    await order.signal(SHIPPED, command_id="once")

    [rejection] = (await order.state()).rejections

    assert rejection.reason == "Command id once was already used for another command"
    assert await order.history() == [PENDING, PROCESSING]


async def test_a_command_for_an_older_version_is_refused(order: AnOrder) -> None:
    await order.signal(PROCESSING)
    await order.handle.signal(OrderWorkflow.update_status, StatusSignal(status=SHIPPED, expected_version=1))

    [rejection] = (await order.state()).rejections

    assert rejection.reason == "Order has version 2, not 1"


async def test_of_racing_commands_one_wins(order: AnOrder) -> None:
    outcomes = await asyncio.gather(
        *(order.change(PROCESSING) for _ in range(4)),
        *(order.change(CANCELLED) for _ in range(4)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, Order) for outcome in outcomes) == 1
    assert len(await order.history()) == 2


async def test_a_signal_written_by_hand_moves_the_order(order: AnOrder) -> None:
    await order.handle.signal("update_status", {"status": "PROCESSING"})

    await order.until_projected()

    last = (await order.state()).record.history[-1]
    assert (last.new_status, last.changed_by) == (PROCESSING, "signal")


async def test_a_cancel_signal_needs_no_payload(order: AnOrder) -> None:
    await order.handle.signal("cancel")

    assert (await order.handle.result()).status is CANCELLED


async def test_a_cancel_signal_may_say_who_and_why(order: AnOrder) -> None:
    await order.handle.signal(OrderWorkflow.cancel, CancelSignal(changed_by="ann", reason="changed my mind"))
    await order.handle.result()

    last = (await order.state()).record.history[-1]
    assert (last.changed_by, last.reason) == ("ann", "changed my mind")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"status": "DELIVERED"}, "Invalid status transition from PENDING to DELIVERED"),
        (
            {"status": "SHIPED"},
            "status: must be one of PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED",
        ),
        (
            {"status": "PROCESSING", "reason": "a\x00b"},
            "reason: must not contain control characters",
        ),
    ],
)
async def test_a_refused_signal_changes_nothing_and_is_remembered(
    order: AnOrder, payload: dict[str, str], reason: str
) -> None:
    await order.handle.signal("update_status", payload)

    state = await order.state()
    assert state.record.order.version == 1
    assert [rejection.reason for rejection in state.rejections] == [reason]


@pytest.mark.parametrize("name", ["update_status", "cancel", "updatestatus"])
@pytest.mark.parametrize(
    "arguments",
    [
        [["not", "a", "signal"]],
        ["PROCESSING"],
        [5],
        [{"by": "me"}],
        [{"status": 5}],
        [{"changed_by": True}],
        [{"status": "PROCESSING"}, "bob"],
        [1, 2, 3],
    ],
    ids=str,
)
async def test_a_signal_that_makes_no_sense_is_remembered_and_stops_nothing(
    order: AnOrder, name: str, arguments: list[object]
) -> None:
    await order.handle.signal(name, args=arguments)

    state = await order.state()
    assert state.record.order.status is PENDING
    assert len(state.rejections) == 1
    assert (await order.change(PROCESSING)).version == 2


async def test_a_status_signal_without_a_payload_is_remembered(order: AnOrder) -> None:
    await order.handle.signal("update_status")

    [rejection] = (await order.state()).rejections
    assert rejection.reason == 'status: is missing; send an object such as {"status": "SHIPPED"}'


async def test_a_projection_that_has_lost_the_order_is_written_again_when_a_signal_is_refused(
    order: AnOrder,
) -> None:
    await order.change(PROCESSING)
    async with order.system.engine.connect() as connection:
        for table in ("order_status_history", "order_items", "orders"):
            column = "id" if table == "orders" else "order_id"
            await connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = '{order.id}'")  # noqa: S608

    await order.signal(PROCESSING)

    await order.until_projected()


async def test_only_the_latest_rejections_are_kept(order: AnOrder) -> None:
    for number in range(REMEMBERED_REJECTIONS + 5):
        await order.signal(SHIPPED, command_id=str(number))

    kept = (await order.state()).rejections

    assert [rejection.command_id for rejection in kept] == [
        str(number) for number in range(5, REMEMBERED_REJECTIONS + 5)
    ]


async def test_a_refused_signal_is_remembered_at_a_bounded_length(order: AnOrder) -> None:
    await order.signal("A" * 100_000, command_id="B" * 100_000)

    [rejection] = (await order.state()).rejections

    assert (len(rejection.status or ""), len(rejection.command_id or "")) == (255, 255)


async def test_a_cancellation_request_does_not_lose_the_order(order: AnOrder) -> None:
    await order.handle.cancel()

    assert (await order.change(PROCESSING)).status is PROCESSING
    [rejection] = (await order.state()).rejections
    assert rejection.reason == ("Cancelling the workflow does not cancel the order; the signal `cancel` does")
    for status in (SHIPPED, DELIVERED):
        await order.change(status)
    assert (await order.handle.result()).status is DELIVERED


async def test_an_order_that_is_over_hears_nothing_more(order: AnOrder) -> None:
    await order.signal(CANCELLED)
    await order.handle.result()

    with pytest.raises(RPCError) as refused:
        await order.signal(PROCESSING)

    assert refused.value.status is RPCStatusCode.NOT_FOUND


async def test_an_order_was_placed_when_temporal_accepted_it(order: AnOrder) -> None:
    started = (await order.handle.describe()).start_time

    assert abs((await order.state()).record.order.created_at - started).total_seconds() < 1


async def test_the_web_ui_finds_the_order_and_tells_its_story(order: AnOrder) -> None:
    await order.signal(DELIVERED)
    await order.change(PROCESSING)

    async def it_is_found() -> bool:
        # PostgreSQL has the change before the workflow task that made it is recorded.
        attributes = (await order.handle.describe()).typed_search_attributes
        return attributes[SearchAttributeKey.for_keyword("OrderStatus")] == "PROCESSING"

    await eventually(it_is_found)
    description = await order.handle.describe()
    story = (await order.handle.query("__temporal_workflow_metadata")).current_details

    attributes = description.typed_search_attributes
    assert attributes[SearchAttributeKey.for_keyword("CustomerId")] == order.customer_id
    assert await description.static_summary() == f"{order.customer_id}: 1 item, 999.99 USD"
    assert story.startswith("**PROCESSING** · 999.99 USD")
    assert "| 2 |" in story
    assert "Next: SHIPPED" in story
    assert "Invalid status transition from PENDING to DELIVERED" in story


@pytest.mark.parametrize(
    ("take_away", "bring_back"),
    [
        ("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "COMMIT"),
        ("ALTER TABLE orders RENAME TO away; COMMIT", "ALTER TABLE away RENAME TO orders"),
    ],
    ids=["silent", "failing"],
)
async def test_commands_are_decided_while_postgresql_is_away_and_projected_when_it_is_back(
    order: AnOrder, take_away: str, bring_back: str
) -> None:
    async with order.system.engine.connect() as connection:
        database = (await connection.get_raw_connection()).driver_connection
        assert database is not None
        await database.execute(f"BEGIN; {take_away}")
        await order.signal(PROCESSING)
        await eventually(lambda: has_scheduled_an_activity(order))
        await order.signal(SHIPPED)
        behind = await order.state()
        await database.execute(bring_back)

    await order.until_projected()

    assert (behind.record.order.status, behind.projected_version) == (SHIPPED, 1)
    assert (await order.state()).projected_version == 3


async def has_scheduled_an_activity(order: AnOrder) -> bool:
    events = (await order.handle.fetch_history()).events
    return any(event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED for event in events)


async def test_an_order_continues_as_new_while_commands_arrive(order: AnOrder) -> None:
    first_run = (await order.handle.describe()).run_id
    flood = (order.signal(DELIVERED, command_id=str(number)) for number in range(EVENTS_IN_A_RUN))

    async def has_continued() -> bool:
        return (await order.handle.describe()).run_id != first_run

    await asyncio.gather(*flood, *(order.signal(PROCESSING, command_id="once") for _ in range(3)))
    await eventually(has_continued)
    await order.signal(PROCESSING, command_id="once")

    carried = await order.state()
    assert [change.command_id for change in carried.record.history][1:] == ["once"]
    assert len(carried.rejections) == REMEMBERED_REJECTIONS
    assert (await order.change(SHIPPED)).version == 3
    assert await order.projected() == (await order.state()).record
