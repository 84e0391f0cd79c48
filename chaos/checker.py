"""The judge: holds what clients were told against what is there, and shares no code with the system.

Each check takes the record of the run and the evidence after it, and fills a finding: how many things it
looked at, and which of them break the promise. A call that broke off proves nothing either way.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from chaos.finding import Finding, Orders
from chaos.fold import SAME_TIME, TABLE, differences, differences_of_rejections, fold
from chaos.journal import Call, Entry, Record

EXACTLY = timedelta(0)
PROMOTION = "promotion"

Check = Callable[[Finding, Record, Orders], None]
CHECKS: dict[str, Check] = {}


def _invariant(name: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


def check(record: Record, orders: Orders) -> list[Finding]:
    """Every invariant, in the order in which they are written."""
    findings = []
    for name, look in CHECKS.items():
        finding = Finding(name=name)
        look(finding, record, orders)
        findings.append(finding)
    return findings


def changes_of(record: Record) -> Iterator[Call]:
    """Every call that asks an order to change."""
    return (call for call in record.calls if call.kind in {"change", "cancel"})


def _by_command(calls: Iterator[Call]) -> dict[str, list[Call]]:
    commands: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        commands[call.command].append(call)
    return commands


def _made(orders: Orders) -> dict[str, list[tuple[str, Entry]]]:
    """The changes in the workflows' histories by the command that made them: (order, change) of each."""
    made: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for order in orders.values():
        for change in (order.told or {"history": []})["history"]:
            if change["request_id"]:
                made[change["request_id"].rpartition(".")[0]].append((order.id, change))
    return made


@_invariant("Every acknowledged order exists in Temporal and in PostgreSQL, as it was asked for")
def _orders_exist(finding: Finding, record: Record, orders: Orders) -> None:
    for call in record.calls:
        if call.kind == "place" and call.is_acknowledged:
            order = orders[str(call.shown_order)]
            story = order.told
            finding.expect(
                bool(order.runs) and story is not None and order.row is not None,
                f"{call.id} was answered {call.http}, and order {order.id} is missing: "
                f"in Temporal {bool(order.runs)}, in PostgreSQL {order.row is not None}",
            )
            if story is not None:
                asked = [(it["product_id"], it["quantity"], it["unit_price"]) for it in call.body["items"]]
                kept = [
                    (it["product_id"], it["quantity"], f"{it['unit_price']:.2f}") for it in story["items"]
                ]
                finding.expect(
                    (asked, call.body["customer_id"]) == (kept, story["customer_id"]),
                    f"{call.id} asked for {call.body}, and order {order.id} has {kept}",
                )


@_invariant("A placing makes one order, refused never, unacknowledged at most one")
def _placed_once(finding: Finding, record: Record, orders: Orders) -> None:
    placed: dict[str, list[str]] = defaultdict(list)
    for order in orders.values():
        if order.told:
            placed[order.told["customer_id"]].append(order.id)
    placings = _by_command(call for call in record.calls if call.kind == "place")
    for command, calls in placings.items():
        made = placed.pop(command, [])
        most = 0 if all(call.outcome == "refused" for call in calls) else 1
        finding.expect(len(made) <= most, f"{command} placed {made}; outcomes {_outcomes(calls)}")
    finding.expect(not placed, f"orders that nobody placed: {dict(placed)}")


@_invariant("Every command that was answered with its outcome is carried out once, another at most once")
def _carried_out_once(finding: Finding, record: Record, orders: Orders) -> None:
    made = _made(orders)
    for command, calls in _by_command(changes_of(record)).items():
        changes = made[command]
        least = 1 if any(call.outcome == "done" for call in calls) else 0
        finding.expect(least <= len(changes) <= 1, f"{command} made {changes}; outcomes {_outcomes(calls)}")


@_invariant("Every accepted command is in the order's history once, to be decided there")
def _accepted_is_durable(finding: Finding, record: Record, orders: Orders) -> None:
    received: dict[str, int] = defaultdict(int)
    for order in orders.values():
        for signal in order.signals:
            received[signal.request or ""] += 1
    for call in record.calls:
        if call.kind in {"change", "cancel"}:
            durable = call.outcome == "accepted" or (call.outcome == "done" and not call.replayed)
            finding.expect(
                received[call.id] == 1 if durable else received[call.id] <= 1,
                f"{call.id} ({call.outcome} {call.http}) is {received[call.id]} times in order {call.order}",
            )


@_invariant("A refused call changes nothing, and nothing changes unasked")
def _refused_never(finding: Finding, record: Record, orders: Orders) -> None:
    calls = {call.id: call for call in record.calls}
    for order in orders.values():
        for change in (order.told or {"history": []})["history"]:
            call = calls.get(change["request_id"] or "")
            is_promotion = change["changed_by"] == PROMOTION and change["new_status"] == "PROCESSING"
            finding.expect(
                is_promotion if call is None else call.outcome != "refused",
                f"order {order.id} has {change}, asked for by {call}",
            )
            if call and call.kind != "place":
                finding.expect(
                    (order.id, change["new_status"]) == (call.order, call.status),
                    f"order {order.id} has {change}, and {call.id} asked {call.order} for {call.status}",
                )


@_invariant("What was acknowledged once is never refused or unknown to the system later")
def _never_taken_back(finding: Finding, record: Record, _: Orders) -> None:
    for calls in _by_command(iter(record.calls)).values():
        done = [call for call in calls if call.outcome == "done" and call.kind != "read"]
        for call in calls:
            for earlier in done:
                if _before(earlier, call):
                    finding.expect(
                        call.outcome != "refused",
                        f"{earlier.id} was answered {earlier.http}, and its repeat {call.id} {call.http}",
                    )
    acknowledged = {
        call.shown_order: call.answered or 0.0
        for call in reversed(record.calls)
        if call.kind == "place" and call.is_acknowledged
    }
    for call in record.calls:
        known = acknowledged.get(call.order)
        if known is not None and known < call.sent and call.via == "http":
            finding.expect(
                call.http != 404,  # noqa: PLR2004 - HTTP's own number
                f"order {call.order} was acknowledged, and {call.id} was answered 404",
            )


@_invariant("A repeat is answered as the first time")
def _answered_alike(finding: Finding, record: Record, _: Orders) -> None:
    for command, calls in _by_command(iter(record.calls)).items():
        done = [call for call in calls if call.outcome == "done" and call.kind != "read"]
        answers = {(call.shown_order, call.version, call.shown_status, call.shown_time) for call in done}
        if done:
            finding.expect(len(answers) == 1, f"{command} was answered {answers}")


@_invariant("The answer to a command is the change that it made")
def _answers_are_true(finding: Finding, record: Record, orders: Orders) -> None:
    made = _made(orders)
    for call in changes_of(record):
        if call.outcome == "done":
            shown = (call.shown_order, call.version, call.shown_status, _time(call.shown_time))
            changes = [
                (order, it["version"], it["new_status"], it["changed_at"]) for order, it in made[call.command]
            ]
            finding.expect(changes == [shown], f"{call.id} was answered {shown}, and made {changes}")


@_invariant("Versions are 1 to n without a gap")
def _gapless(finding: Finding, _: Record, orders: Orders) -> None:
    for order in orders.values():
        for story in filter(None, (order.told, order.row)):
            versions = [change["version"] for change in story["history"]]
            finding.expect(
                versions == list(range(1, story["version"] + 1)),
                f"order {order.id} has version {story['version']} and changes {versions}",
            )


@_invariant("Every step is in the transition table")
def _steps_allowed(finding: Finding, _: Record, orders: Orders) -> None:
    for order in orders.values():
        for story in filter(None, (order.told, order.row)):
            for change in story["history"]:
                finding.expect(
                    change["new_status"] in TABLE[change["old_status"]],
                    f"order {order.id}: {change['old_status']} to {change['new_status']}",
                )
            for one, other in pairwise(story["history"]):
                finding.expect(
                    one["new_status"] == other["old_status"],
                    f"order {order.id}: after {one['new_status']} comes a step from {other['old_status']}",
                )


@_invariant("The workflow's answer is the fold of its history")
def _told_is_folded(finding: Finding, _: Record, orders: Orders) -> None:
    for order in orders.values():
        if order.runs and order.answer and order.told:
            folded = fold(order.runs)
            found = folded.faults + differences(folded.story, order.told, SAME_TIME)
            found += differences_of_rejections(folded.rejections, order.answer["rejections"])
            finding.expect(not found, f"order {order.id}: {'; '.join(found)}")


@_invariant("PostgreSQL has what the workflow answers, field by field")
def _projected(finding: Finding, _: Record, orders: Orders) -> None:
    for order in orders.values():
        if order.told is None or order.row is None:
            finding.expect(order.told is order.row, f"order {order.id} is only on one side")
        else:
            found = differences(order.told, order.row, EXACTLY)
            version = (order.answer or {})["projected_version"]
            if version != order.told["version"]:
                found.append(f"projected_version: {order.told['version']}, not {version}")
            finding.expect(not found, f"order {order.id}: {'; '.join(found)}")


@_invariant("Each order is promoted at most once")
def _promoted_once(finding: Finding, _: Record, orders: Orders) -> None:
    for order in orders.values():
        changes = (order.told or {"history": []})["history"]
        promotions = [it for it in changes if it["changed_by"] == PROMOTION]
        finding.expect(len(promotions) <= 1, f"order {order.id} was promoted by {promotions}")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _before(one: Call, other: Call) -> bool:
    """Whether a call was answered before the other was sent."""
    return one.answered is not None and one.answered < other.sent


def _outcomes(calls: list[Call]) -> dict[str, str]:
    return {call.id: f"{call.outcome} {call.http or ''}".strip() for call in calls}
