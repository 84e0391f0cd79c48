from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders import lifecycle
from orders.commands import NO_VERSION, ChangeStatus
from orders.errors import CommandIdReused, InvalidTransition, InvalidValue, VersionMismatch
from orders.order import OrderRecord, StatusChange
from orders.status import OrderStatus
from tests.builders import NOON, a_change, a_record
from tests.orders.strategies import statuses

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus
LATER = NOON + timedelta(hours=1)


def carry_out(record: OrderRecord, command: ChangeStatus) -> OrderRecord:
    return lifecycle.apply(record, lifecycle.decide(record, command, LATER))


def takes(record: OrderRecord, status: OrderStatus) -> bool:
    try:
        lifecycle.decide(record, a_change(status), LATER)
    except InvalidTransition:
        return False
    return True


def a_record_after(wishes: list[OrderStatus]) -> OrderRecord:
    """An order that was asked all this, and took of it what it does."""
    record = a_record()
    for status in wishes:
        if takes(record, status):
            record = carry_out(record, a_change(status))
    return record


# The property: only valid transitions happen.
@given(st.lists(statuses, max_size=20))
def test_whatever_is_asked_an_order_moves_only_along_the_diagram(wishes: list[OrderStatus]) -> None:
    story = [change.new_status for change in a_record_after(wishes).history]

    assert story[0] == "PENDING"
    assert set(pairwise(story)) <= {
        ("PENDING", "PROCESSING"),
        ("PENDING", "CANCELLED"),
        ("PROCESSING", "SHIPPED"),
        ("SHIPPED", "DELIVERED"),
    }


# The property: only a PENDING order is cancelled.
@given(st.lists(statuses, max_size=20))
def test_an_order_is_cancelled_only_when_it_is_pending(wishes: list[OrderStatus]) -> None:
    record = a_record_after(wishes)

    assert (record.order.status == "PENDING") is takes(record, CANCELLED)


def test_cancelled_is_reached_from_pending() -> None:
    assert carry_out(a_record(), a_change(CANCELLED)).order.status == "CANCELLED"


@pytest.mark.parametrize(
    "path",
    [(CANCELLED,), (PROCESSING,), (PROCESSING, SHIPPED), (PROCESSING, SHIPPED, DELIVERED)],
    ids=lambda path: path[-1],
)
def test_cancelled_is_reached_from_nowhere_else(path: tuple[OrderStatus, ...]) -> None:
    with pytest.raises(InvalidTransition, match=rf"^Cannot cancel order with status {path[-1]}$"):
        lifecycle.decide(a_record(*path), a_change(CANCELLED), LATER)


@pytest.mark.parametrize("wish", OrderStatus)
@pytest.mark.parametrize("path", [(CANCELLED,), (PROCESSING, SHIPPED, DELIVERED)], ids=lambda path: path[-1])
def test_an_order_at_its_end_moves_no_more(path: tuple[OrderStatus, ...], wish: OrderStatus) -> None:
    assert not takes(a_record(*path), wish)


def test_a_decision_says_who_moved_the_order_from_where_to_where_when_and_why() -> None:
    command = a_change(SHIPPED, command_id="c", changed_by="carrier", reason="left the dock")

    assert lifecycle.decide(a_record(PROCESSING), command, LATER) == StatusChange(
        version=3,
        old_status=PROCESSING,
        new_status=SHIPPED,
        changed_at=LATER,
        changed_by="carrier",
        reason="left the dock",
        command_id="c",
    )


def test_an_applied_change_moves_the_order_one_version_on() -> None:
    record = carry_out(a_record(), a_change(PROCESSING))

    assert (record.order.status, record.order.version) == ("PROCESSING", 2)
    assert (record.order.created_at, record.order.updated_at) == (NOON, LATER)
    assert [change.version for change in record.history] == [1, 2]


def test_a_change_applied_twice_is_applied_once() -> None:
    change = lifecycle.decide(a_record(), a_change(PROCESSING), LATER)
    once = lifecycle.apply(a_record(), change)

    assert lifecycle.apply(once, change) is once


def test_a_clock_that_steps_back_does_not_make_the_history_do_so() -> None:
    change = lifecycle.decide(a_record(), a_change(PROCESSING), NOON - timedelta(hours=1))

    assert change.changed_at == NOON


@pytest.mark.parametrize(
    ("changed_at", "sent_at"),
    [
        (LATER, None),
        (NOON + timedelta(seconds=1), NOON + timedelta(seconds=1)),
        # A sender's clock that is behind, and one that is ahead.
        (NOON, NOON - timedelta(hours=1)),
        (LATER, LATER + timedelta(hours=1)),
    ],
)
def test_a_change_has_the_time_at_which_it_was_sent(changed_at: datetime, sent_at: datetime | None) -> None:
    command = replace(a_change(PROCESSING), sent_at=sent_at)

    assert lifecycle.decide(a_record(), command, LATER).changed_at == changed_at


def test_a_repeated_command_answers_as_it_did_the_first_time() -> None:
    command = a_change(PROCESSING)
    moved_on = carry_out(carry_out(a_record(), command), a_change(SHIPPED))

    change = lifecycle.decide(moved_on, command, LATER + timedelta(days=1))

    assert (change.version, change.new_status, change.changed_at) == (2, "PROCESSING", LATER)
    assert lifecycle.apply(moved_on, change) is moved_on
    assert lifecycle.at(moved_on, change.version).status == "PROCESSING"


def test_a_repeated_command_is_known_although_the_version_it_expected_is_gone() -> None:
    command = a_change(PROCESSING, expected_version=1)

    assert lifecycle.decide(carry_out(a_record(), command), command, LATER).version == 2


@pytest.mark.parametrize(
    "other",
    [
        a_change(SHIPPED, command_id="c"),
        a_change(PROCESSING, command_id="c", changed_by="somebody else"),
        a_change(PROCESSING, command_id="c", reason="another reason"),
    ],
    ids=["status", "changed_by", "reason"],
)
def test_another_command_under_the_same_id_is_refused(other: ChangeStatus) -> None:
    record = carry_out(a_record(), a_change(PROCESSING, command_id="c"))

    with pytest.raises(CommandIdReused, match=r"^Command id c was already used for another command$"):
        lifecycle.decide(record, other, LATER)


def test_what_a_command_did_can_be_found_again() -> None:
    command = a_change(PROCESSING)
    record = carry_out(a_record(), command)

    assert lifecycle.find(a_record(), command) is None
    assert lifecycle.find(record, command) == record.history[1]


def test_the_id_of_the_order_is_the_id_of_its_placing() -> None:
    record = a_record()

    with pytest.raises(CommandIdReused):
        lifecycle.decide(record, a_change(PROCESSING, command_id=str(record.order.id)), LATER)


def test_a_command_for_the_version_that_the_order_has_is_carried_out() -> None:
    assert lifecycle.decide(a_record(), a_change(PROCESSING, expected_version=1), LATER).version == 2


@pytest.mark.parametrize("expected", [-1, 1, 3])
def test_a_command_for_another_version_is_refused(expected: int) -> None:
    with pytest.raises(VersionMismatch, match=rf"^Order has version 2, not {expected}$"):
        lifecycle.decide(a_record(PROCESSING), a_change(SHIPPED, expected_version=expected), LATER)


def test_a_command_for_a_version_that_no_order_has_is_refused() -> None:
    with pytest.raises(VersionMismatch, match=r"^Order has version 2, and no version matches"):
        lifecycle.decide(a_record(PROCESSING), a_change(SHIPPED, expected_version=NO_VERSION), LATER)


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("command_id", a_change(PROCESSING, command_id=" ")),
        ("changed_by", a_change(PROCESSING, changed_by="")),
        ("changed_by", a_change(PROCESSING, changed_by="a\nb")),
        ("reason", a_change(PROCESSING, reason="\0")),
        ("reason", a_change(PROCESSING, reason="x" * 1_001)),
    ],
)
def test_a_command_with_a_text_that_cannot_be_stored_is_refused(place: str, command: ChangeStatus) -> None:
    with pytest.raises(InvalidValue) as refusal:
        lifecycle.decide(a_record(), command, LATER)

    assert place == refusal.value.place


def test_the_order_as_it_was_at_each_version_can_be_told() -> None:
    whole = a_record(PROCESSING, SHIPPED, DELIVERED)

    assert [lifecycle.at(whole, version).status for version in (1, 2, 3, 4)] == [
        "PENDING",
        "PROCESSING",
        "SHIPPED",
        "DELIVERED",
    ]
    assert lifecycle.at(whole, 4) == whole.order


@pytest.mark.parametrize("version", [0, 3, -1])
def test_a_version_that_an_order_never_had_cannot_be_told(version: int) -> None:
    with pytest.raises(KeyError):
        lifecycle.at(a_record(PROCESSING), version)


@pytest.mark.parametrize(
    ("next_ones", "path"),
    [
        (["PROCESSING", "CANCELLED"], ()),
        (["SHIPPED"], (PROCESSING,)),
        (["DELIVERED"], (PROCESSING, SHIPPED)),
        ([], (PROCESSING, SHIPPED, DELIVERED)),
        ([], (CANCELLED,)),
    ],
)
def test_an_order_tells_where_it_may_go_next(next_ones: list[str], path: tuple[OrderStatus, ...]) -> None:
    assert next_ones == list(a_record(*path).order.allowed_transitions)
