import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.commands import ChangeStatus
from orders.errors import InvalidValue
from orders.signals import CancelSignal, StatusSignal, read_cancel_signal, read_status_signal
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


def test_a_signal_says_when_it_was_sent_in_any_zone() -> None:
    sent = read_status_signal(({"status": "SHIPPED", "sent_at": "2026-01-05T09:30:00.25+01:00"},))

    assert str(sent.command(new_id="new").sent_at) == "2026-01-05 08:30:00.250000+00:00"


@pytest.mark.parametrize("no_time", ["", "now", "2026-01-05T09:30:00", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_was_not_sent_then(no_time: str) -> None:
    with pytest.raises(InvalidValue, match=r'^sent_at: must be a time with its zone such as "2026-'):
        read_status_signal(({"status": "SHIPPED", "sent_at": no_time},))


# What a later release sends to this one


def test_a_field_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidValue, match=r"^signal: may have status, command_id, .* and nothing else$"):
        read_status_signal(({"status": "SHIPPED", "carrier": "DHL"},))


@pytest.mark.parametrize(
    "later", [{"carrier": None}, {"carrier": "DHL", "ignorable": ["carrier"]}, {"ignorable": []}]
)
def test_a_field_of_a_later_release_that_says_nothing_or_may_be_ignored_is_passed_over(
    later: dict[str, object],
) -> None:
    assert read_status_signal(({"status": "SHIPPED", **later},)) == StatusSignal(status="SHIPPED")
    assert read_cancel_signal(({"reason": "late", **later},)) == CancelSignal(reason="late")


def test_a_field_that_is_known_is_read_although_it_may_be_ignored() -> None:
    given = {"status": "SHIPPED", "expected_version": 2, "ignorable": ["status", "expected_version"]}

    assert read_status_signal((given,)) == StatusSignal(status="SHIPPED", expected_version=2)


def test_only_what_is_listed_may_be_ignored() -> None:
    with pytest.raises(InvalidValue, match="nothing else"):
        read_status_signal(({"status": "SHIPPED", "unless": "PAID", "ignorable": ["carrier"]},))


@pytest.mark.parametrize("names", ["carrier", {"carrier": True}, [["carrier"]], [1], 1, True])
def test_what_may_be_ignored_is_a_list_of_names(names: object) -> None:
    with pytest.raises(InvalidValue, match=r"^ignorable: must be a list of names$"):
        read_status_signal(({"status": "SHIPPED", "ignorable": names},))
