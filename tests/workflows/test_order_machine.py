"""Real workflows against an independent model, under commands that repeat, interleave and race."""

import asyncio
from collections.abc import Coroutine
from itertools import permutations
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from temporalio.service import RPCError, RPCStatusCode

from database import queries
from orders.commands import ChangeStatus
from orders.errors import CommandRefused
from orders.signals import StatusSignal
from orders.status import OrderStatus
from tests.builders import a_place_order
from tests.system import System, eventually
from workflows.order import OrderWorkflow

T = TypeVar("T")

# The diagram, written out here so that a wrong table in the system cannot agree with it.
DIAGRAM = {
    ("PENDING", "PROCESSING"),
    ("PENDING", "CANCELLED"),
    ("PROCESSING", "SHIPPED"),
    ("SHIPPED", "DELIVERED"),
}

Story = tuple[tuple[str, str], ...]  # status and command id of each accepted change

# Few ids, so that commands meet again.
COMMANDS = st.builds(
    lambda status, number: ChangeStatus(
        command_id=f"{status}-{number}", status=OrderStatus(status), changed_by="machine"
    ),
    st.sampled_from(["PENDING", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"]),
    st.integers(0, 1),
)


def told(story: Story, command: ChangeStatus) -> Story:
    """The story after a command, by the model."""
    step = (command.status.value, command.command_id)
    if step in story or (story[-1][0], step[0]) not in DIAGRAM:
        return story
    return (*story, step)


class OrderMachine(RuleBasedStateMachine):
    """Drives one order; `system` and `loop` are set by the test."""

    system: System
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        place = a_place_order(order_id=uuid4())
        self.order_id: UUID = place.order_id
        self.story: Story = (("PENDING", str(self.order_id)),)
        assert self.run(self.system.dispatcher.place(place, wait=True)) is not None

    def run(self, asking: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asking, self.loop).result(timeout=60)

    @rule(command=COMMANDS)
    def a_client_asks_and_waits(self, command: ChangeStatus) -> None:
        after = told(self.story, command)
        answered = self.run(self.ask(command))
        assert answered == ((command.status.value, command.command_id) in after)
        self.story = after

    @rule(command=COMMANDS)
    def somebody_signals(self, command: ChangeStatus) -> None:
        self.run(self.signal(command))
        self.story = told(self.story, command)

    @rule(commands=st.lists(COMMANDS, min_size=2, max_size=4))
    def commands_race(self, commands: list[ChangeStatus]) -> None:
        async def race() -> None:
            await asyncio.gather(
                *(self.ask(it) if number % 2 else self.signal(it) for number, it in enumerate(commands))
            )

        self.run(race())
        possible = set()
        for order in permutations(commands):
            story = self.story
            for command in order:
                story = told(story, command)
            possible.add(story)
        actual = self.run(self.told_by_the_workflow())
        assert actual in possible
        self.story = actual

    @invariant()
    def the_workflow_tells_the_same_story(self) -> None:
        assert self.run(self.told_by_the_workflow()) == self.story

    def teardown(self) -> None:
        self.run(self.the_projection_agrees())

    async def ask(self, command: ChangeStatus) -> bool:
        """Whether the command is part of the order's life."""
        try:
            answer = await self.system.dispatcher.change(self.order_id, command, wait=True)
        except CommandRefused:
            return False
        assert answer is not None
        assert answer.order.status == command.status
        return True

    async def signal(self, command: ChangeStatus) -> None:
        signal = StatusSignal(
            status=command.status, command_id=command.command_id, changed_by=command.changed_by
        )
        try:
            await self.system.handle(self.order_id).signal(OrderWorkflow.update_status, signal)
        except RPCError as ended:
            if ended.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def told_by_the_workflow(self) -> Story:
        state = await self.system.handle(self.order_id).query(OrderWorkflow.order)
        return tuple((change.new_status.value, change.command_id) for change in state.record.history)

    async def the_projection_agrees(self) -> None:
        handle = self.system.handle(self.order_id)
        record = (await handle.query(OrderWorkflow.order)).record

        async def is_projected() -> bool:
            return await queries.get_record(self.system.engine, self.order_id) == record

        await eventually(is_projected)


async def test_a_workflow_behaves_as_the_model_whatever_is_asked_of_it(system: System) -> None:
    machine = type("Machine", (OrderMachine,), {"system": system, "loop": asyncio.get_running_loop()})

    await asyncio.to_thread(
        run_state_machine_as_test,
        machine,
        settings=settings(max_examples=12, stateful_step_count=10, deadline=None),
    )
