"""The judge's second half: what was seen when. Times are those of one machine's monotonic clock."""

import math
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations

from chaos.finding import Finding, Orders
from chaos.journal import Call, Entry, Record
from chaos.quiet import Quiet

FINISHED_WITHIN = 60.0
PROMOTED_WITHIN = 120.0
# Temporal gives a task back when something arrived meanwhile, or when its worker went; others are bugs.
HARMLESS_TASK_FAILURES = {
    "WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND",
    "WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND",
    "WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE",
}


def check_time(record: Record, orders: Orders, quiet: Quiet) -> list[Finding]:
    """The invariants that are about time."""
    return [
        _rows_never_go_back(record, orders),
        _reads_show_what_was_done(record),
        _commands_in_real_time(record, orders),
        _finished(orders, quiet),
        _no_failing_task(orders),
        _no_internal_error(record),
    ]


def _rows_never_go_back(record: Record, orders: Orders) -> Finding:
    finding = Finding(name="PostgreSQL's versions never go back, and none was shown that is not there")
    latest: dict[str, int] = defaultdict(int)
    for row in record.rows:
        order, version = row["order"], row["version"]
        finding.expect(
            version >= latest[order],
            f"order {order} went from version {latest[order]} to {version} at {row['at']:.3f}",
        )
        latest[order] = max(latest[order], version)
        story = orders[order].told if order in orders else None
        steps = {it["version"]: it["new_status"] for it in (story or {"history": []})["history"]}
        finding.expect(
            version == 0 or steps.get(version) == row["status"],
            f"order {order} was seen as {row['status']} at version {version}, and has {steps}",
        )
    return finding


def _reads_show_what_was_done(record: Record) -> Finding:
    finding = Finding(name="A read is never older than the answer to a command that came before it was sent")
    _hold_reads_against(finding, record, lambda call: call.kind != "read")
    return finding


def observe_reads(record: Record) -> Finding:
    """What is not promised, because PostgreSQL may be behind: that reads do not go back among themselves.

    They do where PostgreSQL did not have the order yet, the workflow was asked instead, and the projection
    caught up to an earlier version first.
    """
    finding = Finding(name="A read is never older than an earlier read")
    _hold_reads_against(finding, record, lambda call: call.kind == "read")
    return finding


def _hold_reads_against(finding: Finding, record: Record, is_held: Callable[[Call], bool]) -> None:
    shown: dict[str, list[Call]] = defaultdict(list)
    for call in record.calls:
        if call.outcome == "done" and call.shown_order:
            shown[call.shown_order].append(call)
    for order, calls in shown.items():
        for read in calls:
            if read.kind == "read":
                before = [it for it in calls if is_held(it) and (it.answered or math.inf) < read.sent]
                latest = max((it.version or 0 for it in before), default=0)
                finding.expect(
                    (read.version or 0) >= latest,
                    f"{read.id} saw {order} at version {read.version} after {latest} was shown",
                )


def _commands_in_real_time(record: Record, orders: Orders) -> Finding:
    """If a's answer came before b was first sent, a's change comes before b's."""
    finding = Finding(name="Commands on an order take effect in an order that real time allows")
    versions = {
        (order.id, change["request_id"].rpartition(".")[0]): change["version"]
        for order in orders.values()
        for change in (order.told or {"history": []})["history"]
        if change["request_id"]
    }
    for order, commands in _spans(record).items():
        for one, other in combinations(commands, 2):
            for first, then in ((one, other), (other, one)):
                pair = versions.get((order, first)), versions.get((order, then))
                if commands[first][1] < commands[then][0] and pair[0] and pair[1]:
                    finding.expect(
                        pair[0] < pair[1],
                        f"order {order}: {first} was answered before {then} was sent, and has "
                        f"version {pair[0]}, not below {pair[1]}",
                    )
    return finding


def _spans(record: Record) -> dict[str, dict[str, tuple[float, float]]]:
    """When each command was first sent, and first known to be carried out, by order and command."""
    spans: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for call in record.calls:
        order = call.shown_order if call.kind == "place" else call.order
        if call.kind in {"place", "change", "cancel"} and order:
            # A change that was only accepted may be refused, and carried out when it is repeated.
            is_known = call.outcome == "done" or (call.kind == "place" and call.is_acknowledged)
            answered = call.answered if is_known and call.answered else float("inf")
            sent, known = spans[order].get(call.command, (call.sent, float("inf")))
            spans[order][call.command] = min(sent, call.sent), min(known, answered)
    return spans


def _finished(orders: Orders, quiet: Quiet) -> Finding:
    finding = Finding(
        name=f"After healing, orders rest within {FINISHED_WITHIN:.0f} s and are promoted within "
        f"{PROMOTED_WITHIN:.0f} s"
    )
    finding.checked = len(orders)
    finding.violations += quiet.restless
    for what, took, most in (
        ("the orders", quiet.orders_seconds, FINISHED_WITHIN),
        ("the promotion", quiet.promotion_seconds, PROMOTED_WITHIN),
    ):
        finding.expect(took <= most, f"{what} took {took:.0f} s")
    return finding


def _no_failing_task(orders: Orders) -> Finding:
    finding = Finding(name="Every workflow answers, and no workflow task fails for a reason of its own")
    for order in orders.values():
        bad = {it: n for it, n in order.failed_tasks.items() if it not in HARMLESS_TASK_FAILURES}
        finding.expect(not bad and not order.silence, f"order {order.id}: {bad} {order.silence}")
    return finding


def _no_internal_error(record: Record) -> Finding:
    finding = Finding(name="No call is answered with an internal error")
    for call in record.calls:
        finding.expect(
            call.http != 500,  # noqa: PLR2004 - HTTP's own number
            f"{call.id} was answered 500 {call.reason}",
        )
    return finding


def faults_with_success(record: Record) -> tuple[int, dict[int, int]]:
    """Commands acknowledged while a fault was on: in all, and by the fault's number."""
    by_fault: dict[int, int] = {fault["fault"]: 0 for fault in record.faults}
    for call in record.calls:
        if call.kind != "read" and call.is_acknowledged and call.answered is not None:
            for fault in record.faults:
                if _is_within(call.answered, fault):
                    by_fault[fault["fault"]] += 1
    return sum(by_fault.values()), by_fault


def _is_within(moment: float, fault: Entry) -> bool:
    return bool(fault["at"] <= moment <= (fault["until"] or float("inf")))
