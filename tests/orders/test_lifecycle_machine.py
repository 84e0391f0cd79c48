"""Arbitrary, repeated and stale commands against a model that knows the diagram by heart."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from orders import lifecycle
from orders.commands import ChangeStatus
from orders.errors import CommandIdReused, InvalidTransition, InvalidValue, OrderError, VersionMismatch
from orders.status import OrderStatus
from tests.builders import NOON, a_place_order
from tests.orders.strategies import statuses

DIAGRAM: Final[dict[str, set[str]]] = {
    "PENDING": {"PROCESSING", "CANCELLED"},
    "PROCESSING": {"SHIPPED"},
    "SHIPPED": {"DELIVERED"},
    "DELIVERED": set(),
    "CANCELLED": set(),
}

PLACING = a_place_order()


@dataclass
class Model:
    """What became of the order, version by version, and of every command that it carried out."""

    story: list[tuple[str, datetime]] = field(default_factory=lambda: [("PENDING", NOON)])
    carried_out: dict[str, tuple[int, str, str, str | None]] = field(
        default_factory=lambda: {str(PLACING.order_id): (1, "PENDING", "api", None)}
    )

    def answer(self, command: ChangeStatus, now: datetime) -> int | type[OrderError]:
        """The version that the command makes or once made, or the kind of refusal."""
        if command.changed_by == "two\nlines":
            return InvalidValue
        wish = (str(command.status), command.changed_by, command.reason)
        if command.command_id in self.carried_out:
            version, *known = self.carried_out[command.command_id]
            return version if wish == tuple(known) else CommandIdReused
        if command.expected_version not in {None, len(self.story)}:
            return VersionMismatch
        status, since = self.story[-1]
        if command.status not in DIAGRAM[status]:
            return InvalidTransition
        self.story.append((str(command.status), max(now, since)))
        self.carried_out[command.command_id] = (len(self.story), *wish)
        return len(self.story)


class OrderMachine(RuleBasedStateMachine):
    """One order, and commands that are written once and sent any number of times, at any moment."""

    commands: Bundle[ChangeStatus] = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self.record = lifecycle.place(PLACING, NOON)
        self.model = Model()

    @rule(
        target=commands,
        # So few ids that they are taken twice, for the same wish and for another.
        command_id=st.sampled_from(["a", "b", "c", "d", str(PLACING.order_id)]),
        status=statuses,
        changed_by=st.sampled_from(["api", "carrier", "two\nlines"]),
        reason=st.sampled_from([None, "late"]),
        expected_version=st.none() | st.integers(0, 5),
    )
    def write(
        self,
        command_id: str,
        status: OrderStatus,
        changed_by: str,
        reason: str | None,
        expected_version: int | None,
    ) -> ChangeStatus:
        return ChangeStatus(
            command_id=command_id,
            status=status,
            changed_by=changed_by,
            reason=reason,
            expected_version=expected_version,
        )

    @rule(command=commands, minutes=st.integers(-60, 60))
    def send(self, command: ChangeStatus, minutes: int) -> None:
        now = NOON + timedelta(minutes=minutes)
        expected = self.model.answer(command, now)
        if isinstance(expected, int):
            change = lifecycle.decide(self.record, command, now)
            self.record = lifecycle.apply(self.record, change)
            assert expected == change.version
        else:
            with pytest.raises(expected):
                lifecycle.decide(self.record, command, now)

    @invariant()
    def versions_have_no_gaps(self) -> None:
        versions = [change.version for change in self.record.history]

        assert list(range(1, len(self.model.story) + 1)) == versions

    @invariant()
    def the_order_is_where_its_story_ends(self) -> None:
        order = self.record.order

        assert (*self.model.story[-1], len(self.model.story)) == (
            order.status,
            order.updated_at,
            order.version,
        )

    @invariant()
    def the_history_tells_the_story(self) -> None:
        changes = self.record.history

        assert self.model.story == [(change.new_status, change.changed_at) for change in changes]
        assert [None, *(status for status, _ in self.model.story)][:-1] == [
            change.old_status for change in changes
        ]

    @invariant()
    def the_history_knows_every_command_that_was_carried_out(self) -> None:
        assert self.model.carried_out == {
            change.command_id: (change.version, change.new_status, change.changed_by, change.reason)
            for change in self.record.history
        }

    @invariant()
    def every_earlier_version_can_be_told(self) -> None:
        told = [lifecycle.at(self.record, change.version) for change in self.record.history]

        assert self.model.story == [(order.status, order.updated_at) for order in told]
        assert self.record.order == told[-1]

    @invariant()
    def what_was_ordered_never_changes(self) -> None:
        order, placed = self.record.order, lifecycle.place(PLACING, NOON).order

        assert (placed.id, placed.customer_id, placed.items, placed.total_amount, placed.created_at) == (
            order.id,
            order.customer_id,
            order.items,
            order.total_amount,
            order.created_at,
        )


OrderMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAnOrderUnderAnyCommands = OrderMachine.TestCase
