import pytest
from temporalio.client import WorkflowExecutionStatus

from database.projection import rows_of
from doctor.findings import Kind, Known, diagnose
from orders.status import OrderStatus
from tests.builders import a_record

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus


@pytest.mark.parametrize("moves", [(), (CANCELLED,), (PROCESSING, SHIPPED, DELIVERED)])
def test_an_order_that_both_know_alike_is_well(moves: tuple[OrderStatus, ...]) -> None:
    record = a_record(*moves)
    status = WorkflowExecutionStatus.RUNNING
    if record.order.status.is_terminal:
        status = WorkflowExecutionStatus.COMPLETED

    assert diagnose(record.order.id, rows_of(record), Known(status=status, record=record)) == []


def test_an_order_that_is_over_and_was_forgotten_between_two_looks_is_well() -> None:
    record = a_record(CANCELLED)

    assert diagnose(record.order.id, rows_of(record), None) == []


def test_an_order_that_nobody_knows_any_more_is_none() -> None:
    assert diagnose(a_record().order.id, None, None) == []


@pytest.mark.parametrize("status", ["TERMINATED", "FAILED", "CANCELED", "TIMED_OUT", "COMPLETED"])
def test_however_a_workflow_ends_before_its_order_nobody_decides_for_it(status: str) -> None:
    record = a_record()
    known = Known(status=WorkflowExecutionStatus[status], record=record)

    (finding,) = diagnose(record.order.id, rows_of(record), known)

    assert finding.kind is Kind.FINISHED_BUT_OPEN


def test_a_finding_names_the_columns_and_not_what_they_hold() -> None:
    record = a_record()
    stored = rows_of(record)
    stored.order["customer_id"] = "somebody else"

    (finding,) = diagnose(
        record.order.id, stored, Known(status=WorkflowExecutionStatus.RUNNING, record=record)
    )

    assert finding.detail.endswith("not the same customer_id")
    assert "somebody else" not in finding.detail
