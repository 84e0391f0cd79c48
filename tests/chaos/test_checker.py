from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from chaos.evidence import OrderEvidence
from chaos.order_in_time import observe_reads
from chaos.quiet import Quiet
from tests.chaos.hand import (
    DELIVERED,
    ONE_CENT,
    ORDER,
    PLACED,
    READ,
    SHIPPED,
    Hand,
    a_change,
    a_ghost,
    a_signal,
    seen,
)

EXIST = "Every acknowledged order exists in Temporal and in PostgreSQL, as it was asked for"
ONE_ORDER = "A placing makes one order, refused never, unacknowledged at most one"
ONCE = "Every command that was answered with its outcome is carried out once, another at most once"
DURABLE = "Every accepted command is in the order's history once, to be decided there"
REFUSED = "A refused call changes nothing, and nothing changes unasked"
TAKEN_BACK = "What was acknowledged once is never refused or unknown to the system later"
ALIKE = "A repeat is answered as the first time"
TRUE = "The answer to a command is the change that it made"
GAPLESS = "Versions are 1 to n without a gap"
TABLE = "Every step is in the transition table"
FOLD = "The workflow's answer is the fold of its history"
PROJECTED = "PostgreSQL has what the workflow answers, field by field"
PROMOTED = "Each order is promoted at most once"
NEVER_BACK = "PostgreSQL's versions never go back, and none was shown that is not there"
READS = "A read is never older than the answer to a command that came before it was sent"
REAL_TIME = "Commands on an order take effect in an order that real time allows"
RESTS = "After healing, orders rest within 60 s and are promoted within 120 s"
TASKS = "Every workflow answers, and no workflow task fails for a reason of its own"
NO_500 = "No call is answered with an internal error"


def test_a_run_in_which_every_promise_is_kept_has_no_violation() -> None:
    findings = Hand().findings()

    assert [it for it in findings if it.violations] == []
    # What found nothing to look at has proved nothing.
    assert {it.name for it in findings if it.checked == 0} == set()


def test_every_invariant_has_a_test_here() -> None:
    names = {value for name, value in globals().items() if name.isupper() and isinstance(value, str)}

    assert {it.name for it in Hand().findings()} <= names


def test_an_acknowledged_order_that_temporal_does_not_have_is_found() -> None:
    assert EXIST in Hand(answer=None).broken()


def test_an_acknowledged_order_that_postgresql_does_not_have_is_found() -> None:
    assert {EXIST, PROJECTED} <= Hand(row=None).broken()


def test_an_order_with_other_items_than_were_asked_for_is_found() -> None:
    asked = {"customer_id": "c1-1", "items": [{"product_id": "mouse", "quantity": 1, "unit_price": "2.00"}]}

    assert EXIST in Hand(calls=[replace(PLACED, body=asked), SHIPPED, DELIVERED]).broken()


def test_an_order_that_nobody_placed_is_found() -> None:
    assert ONE_ORDER in Hand(more_orders=[a_ghost()]).broken()


def test_a_placing_that_made_two_orders_is_found() -> None:
    ghost = a_ghost()
    assert ghost.answer is not None
    ghost.answer["record"]["order"]["customer_id"] = "c1-1"

    assert ONE_ORDER in Hand(more_orders=[ghost]).broken()


def test_an_order_whose_placing_was_refused_is_found() -> None:
    refused = replace(PLACED, outcome="refused", http=422, shown_order=None, version=None)

    assert {ONE_ORDER, REFUSED} <= Hand(calls=[refused, SHIPPED, DELIVERED]).broken()


def test_an_order_whose_placing_is_unknown_is_allowed() -> None:
    unknown = replace(PLACED, outcome="unknown", http=None, shown_order=None, version=None, answered=None)

    assert not Hand(calls=[unknown, SHIPPED, DELIVERED]).broken()


def test_a_command_that_was_acknowledged_and_not_carried_out_is_found() -> None:
    lost = replace(SHIPPED, id="c5-1.1", command="c5-1")

    assert {ONCE, DURABLE, TRUE} <= Hand(calls=[PLACED, SHIPPED, DELIVERED, lost]).broken()


def test_a_command_that_was_carried_out_twice_is_found() -> None:
    run = Hand()
    run.history.append(a_change(4, "DELIVERED", "SHIPPED", "c2", "k2", "c2-1.2"))

    assert ONCE in run.broken()


def test_a_command_that_was_accepted_and_never_received_is_found() -> None:
    lost = replace(DELIVERED, id="c5-1.1", command="c5-1")

    assert Hand(calls=[PLACED, SHIPPED, DELIVERED, lost]).broken() == {DURABLE}


def test_a_signal_that_was_received_twice_is_found() -> None:
    run = Hand()
    run.signals.append(run.signals[-1])

    assert DURABLE in run.broken()


def test_a_refused_call_that_changed_the_order_is_found() -> None:
    refused = replace(SHIPPED, outcome="refused", http=409, version=None, shown_order=None)

    assert REFUSED in Hand(calls=[PLACED, refused, DELIVERED]).broken()


def test_a_change_that_nobody_asked_for_is_found() -> None:
    assert REFUSED in Hand(calls=[PLACED, DELIVERED]).broken()


def test_a_change_to_another_status_than_was_asked_for_is_found() -> None:
    assert REFUSED in Hand(calls=[PLACED, replace(SHIPPED, status="CANCELLED"), DELIVERED]).broken()


def test_a_refusal_of_what_was_acknowledged_before_is_found() -> None:
    repeat = replace(SHIPPED, id="c2-1.2", sent=7.0, answered=8.0, outcome="refused", http=409)

    assert Hand(calls=[PLACED, SHIPPED, DELIVERED, repeat]).broken() == {TAKEN_BACK}


def test_a_404_for_an_acknowledged_order_is_found() -> None:
    lost = replace(READ, outcome="refused", http=404, shown_order=None, version=None)

    assert Hand(calls=[PLACED, SHIPPED, DELIVERED, lost]).broken() == {TAKEN_BACK}


def test_a_repeat_that_is_answered_otherwise_is_found() -> None:
    repeat = replace(SHIPPED, id="c2-1.2", sent=7.0, answered=8.0, version=4, replayed=True)

    assert ALIKE in Hand(calls=[PLACED, SHIPPED, DELIVERED, repeat]).broken()


def test_a_repeat_that_is_answered_alike_is_allowed() -> None:
    repeat = replace(SHIPPED, id="c2-1.2", sent=7.0, answered=8.0, replayed=True)

    assert not Hand(calls=[PLACED, SHIPPED, DELIVERED, repeat]).broken()


def test_an_answer_with_another_version_than_was_made_is_found() -> None:
    assert TRUE in Hand(calls=[PLACED, replace(SHIPPED, version=2), DELIVERED]).broken()


def test_an_answer_with_another_time_than_was_kept_is_found() -> None:
    early = replace(SHIPPED, shown_time="2026-01-05T12:00:04.999Z")

    assert TRUE in Hand(calls=[PLACED, early, DELIVERED]).broken()


def test_a_gap_between_versions_is_found() -> None:
    run = Hand()
    assert run.row is not None
    del run.row["history"][1]

    assert {GAPLESS, TABLE, PROJECTED} <= run.broken()


def test_a_step_that_the_table_does_not_have_is_found() -> None:
    run = Hand()
    run.history[3]["new_status"] = "CANCELLED"

    assert TABLE in run.broken()


def test_a_history_whose_steps_do_not_join_is_found() -> None:
    run = Hand()
    del run.history[2]

    assert {TABLE, GAPLESS, FOLD} <= run.broken()


def test_a_workflow_that_answers_other_than_its_history_says_is_found() -> None:
    run = Hand()
    run.history[3]["changed_by"] = "somebody"

    assert {FOLD, PROJECTED} <= run.broken()


def test_a_time_that_is_not_that_of_the_decision_is_found() -> None:
    run = Hand(signals=[replace(it, decided=it.decided + timedelta(milliseconds=1)) for it in Hand().signals])

    assert run.broken() == {FOLD}


def test_a_refusal_that_the_workflow_does_not_remember_is_found() -> None:
    run = Hand()
    run.signals.append(a_signal(8, "CANCELLED", "c9", "k9"))

    assert run.broken() == {FOLD}


@pytest.mark.parametrize(
    "field", ["customer_id", "status", "currency", "version", "created_at", "updated_at"]
)
def test_a_row_that_differs_in_any_field_is_found(field: str) -> None:
    run = Hand()
    assert run.row is not None
    value = run.row[field]
    run.row[field] = value + timedelta(microseconds=1) if field.endswith("_at") else value * 2

    assert PROJECTED in run.broken()


def test_a_row_with_another_amount_is_found() -> None:
    run = Hand()
    assert run.row is not None
    run.row["total_amount"] += ONE_CENT

    assert run.broken() == {PROJECTED}


def test_a_row_with_another_item_is_found() -> None:
    run = Hand()
    assert run.row is not None
    run.row["items"][0]["quantity"] = 2

    assert run.broken() == {PROJECTED}


def test_a_workflow_that_does_not_know_that_it_is_projected_is_found() -> None:
    run = Hand()
    assert run.answer is not None
    run.answer["projected_version"] = 3

    assert run.broken() == {PROJECTED}


def test_a_second_promotion_is_found() -> None:
    run = Hand()
    run.history[2] |= {"changed_by": "promotion"}

    assert PROMOTED in run.broken()


def test_a_row_that_went_back_is_found() -> None:
    run = Hand()
    run.rows.append(seen(9.0, 3, "SHIPPED"))

    assert run.broken() == {NEVER_BACK}


def test_a_row_that_vanished_is_found() -> None:
    run = Hand()
    run.rows.append(seen(9.0, 0, ""))

    assert run.broken() == {NEVER_BACK}


def test_a_row_that_showed_what_never_was_is_found() -> None:
    run = Hand()
    run.rows.insert(1, seen(3.0, 2, "CANCELLED"))

    assert run.broken() == {NEVER_BACK}


def test_a_read_that_is_older_than_an_earlier_read_is_observed_and_no_violation() -> None:
    later = replace(READ, id="c1-3.1", command="c1-3", sent=10.0, answered=11.0, version=3)
    run = Hand(calls=[PLACED, SHIPPED, DELIVERED, READ, later])

    assert not run.broken()
    assert len(observe_reads(run.record).violations) == 1


def test_a_read_that_is_older_than_an_answer_is_found() -> None:
    stale = replace(READ, version=2, shown_status="PROCESSING")

    assert Hand(calls=[PLACED, SHIPPED, DELIVERED, stale]).broken() == {READS}


def test_a_read_beside_a_command_may_be_older() -> None:
    stale = replace(READ, sent=5.5, version=2, shown_status="PROCESSING")

    assert not Hand(calls=[PLACED, SHIPPED, DELIVERED, stale]).broken()


AN_ANSWER = replace(
    DELIVERED,
    outcome="done",
    http=200,
    shown_order=ORDER,
    shown_status="DELIVERED",
    shown_time="2026-01-05T12:00:07Z",
    version=4,
)


def test_commands_that_took_effect_against_real_time_are_found() -> None:
    late = replace(SHIPPED, sent=8.5, answered=8.9)
    early = replace(AN_ANSWER, sent=7.0)

    assert Hand(calls=[PLACED, early, late]).broken() == {REAL_TIME}


def test_concurrent_commands_may_take_effect_either_way() -> None:
    early = replace(AN_ANSWER, sent=5.0)

    assert not Hand(calls=[PLACED, early, SHIPPED]).broken()


@pytest.mark.parametrize(
    "quiet",
    [
        Quiet(orders_seconds=61.0, promotion_seconds=70.0, restless=[]),
        Quiet(orders_seconds=1.0, promotion_seconds=121.0, restless=[]),
        Quiet(orders_seconds=1.0, promotion_seconds=2.0, restless=["order-1: activity attempt 9"]),
    ],
)
def test_a_system_that_does_not_come_to_rest_is_found(quiet: Quiet) -> None:
    assert Hand(quiet=quiet).broken() == {RESTS}


def test_a_workflow_task_that_failed_is_found() -> None:
    order = OrderEvidence(
        id="x", failed_tasks=Counter({"WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE": 1})
    )

    assert Hand(more_orders=[order]).broken() == {TASKS}


def test_a_workflow_that_does_not_answer_is_found() -> None:
    assert TASKS in Hand(answer=None, silence="Query timed out").broken()


def test_a_workflow_task_that_temporal_gave_back_is_allowed() -> None:
    order = OrderEvidence(id="x", failed_tasks=Counter({"WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND": 1}))

    assert not Hand(more_orders=[order]).broken()


def test_an_internal_error_is_found() -> None:
    failed = replace(READ, outcome="unknown", http=500, shown_order=None, version=None)

    assert Hand(calls=[PLACED, SHIPPED, DELIVERED, failed]).broken() == {NO_500}
