import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.commands import ChangeStatus
from orders.errors import InvalidValue
from orders.signals import CancelSignal, StatusSignal
from orders.status import OrderStatus
from tests.orders.strategies import identifiers, reasons, statuses


def test_a_status_alone_is_enough() -> None:
    expected = ChangeStatus(command_id="new", status=OrderStatus.SHIPPED, changed_by="signal")

    assert expected == StatusSignal(status="SHIPPED").command(new_id="new")


def test_nothing_at_all_is_enough_to_cancel() -> None:
    expected = ChangeStatus(command_id="new", status=OrderStatus.CANCELLED, changed_by="signal")

    assert expected == CancelSignal().command(new_id="new")


@given(identifiers, statuses, identifiers, reasons, st.none() | st.integers())
def test_what_a_signal_says_is_in_its_command(
    command_id: str, status: OrderStatus, changed_by: str, reason: str | None, version: int | None
) -> None:
    signal = StatusSignal(
        command_id=command_id, status=status, changed_by=changed_by, reason=reason, expected_version=version
    )

    assert signal.command(new_id="new") == ChangeStatus(
        command_id=command_id, status=status, changed_by=changed_by, reason=reason, expected_version=version
    )


@given(identifiers, identifiers, reasons)
def test_what_a_cancel_signal_says_is_in_its_command(
    command_id: str, changed_by: str, reason: str | None
) -> None:
    signal = CancelSignal(command_id=command_id, changed_by=changed_by, reason=reason)

    assert signal.status == "CANCELLED"
    assert signal.command(new_id="new") == ChangeStatus(
        command_id=command_id, status=OrderStatus.CANCELLED, changed_by=changed_by, reason=reason
    )


@pytest.mark.parametrize("unknown", ["", "shipped", "LOST"])
def test_an_unknown_status_names_those_that_exist(unknown: str) -> None:
    with pytest.raises(
        InvalidValue, match=r"^status: must be one of PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED$"
    ):
        StatusSignal(status=unknown).command(new_id="new")


def test_an_empty_command_id_is_none() -> None:
    assert CancelSignal(command_id="").command(new_id="new").command_id == "new"
