"""What an order must have become: folded from what its Temporal history says that it was asked.

The rules are written here a second time, from the documentation, so that they can disagree with the system's.
An order is a story: {id, customer_id, status, currency, total_amount, version, created_at, updated_at, items,
history}, whoever tells it. Times are aware, amounts are Decimals.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

Story = dict[str, Any]

TABLE: dict[str | None, tuple[str, ...]] = {
    None: ("PENDING",),
    "PENDING": ("PROCESSING", "CANCELLED"),
    "PROCESSING": ("SHIPPED",),
    "SHIPPED": ("DELIVERED",),
    "DELIVERED": (),
    "CANCELLED": (),
}
REMEMBERED_REJECTIONS = 20
TEXTS = ("command_id", "changed_by", "reason", "on_behalf_of", "request_id")

# Temporal counts nanoseconds; on the way to a datetime the last microsecond may be rounded either way.
SAME_TIME = timedelta(microseconds=2)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A signal of a history: `arguments` as JSON, `decided` the time of the task that carried it out.

    `replayed`, where it is another, is the time that the workflow sees when that task is replayed: a replay
    runs a task that recorded nothing together with the next. What changes an order records something.
    """

    name: str
    arguments: list[Any]
    decided: datetime
    replayed: datetime | None = None

    @property
    def request(self) -> str | None:
        """The call that it came from, where it says so."""
        said = self.arguments[0] if self.arguments else None
        return said.get("request_id") if isinstance(said, dict) else None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of an order's workflow: when and from what it started, and the signals that it took."""

    started: datetime
    start: dict[str, Any]
    signals: list[Signal]


@dataclass(kw_only=True)
class Folded:
    """What the runs amount to. `faults` says what in them cannot be."""

    story: Story
    rejections: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def fold(runs: list[Run]) -> Folded:
    """Fold the runs of one order, first to last."""
    folded = Folded(story=_placed(runs[0]))
    for number, run in enumerate(runs):
        if number:
            folded.faults += _differences_from_carried(folded, run.start["carried"])
        for signal in run.signals:
            _receive(folded, signal)
    return folded


def _placed(run: Run) -> Story:
    place = run.start["place"]
    items = [
        {
            "product_id": item["product_id"],
            "quantity": item["quantity"],
            "unit_price": Decimal(item["unit_price"]),
        }
        for item in place["items"]
    ]
    change = {
        "version": 1,
        "old_status": None,
        "new_status": "PENDING",
        "changed_at": run.started,
        "changed_by": place.get("placed_by", "api"),
        "reason": None,
        "command_id": place["order_id"],
        "on_behalf_of": None,
        "request_id": place.get("request_id"),
    }
    return {
        "id": place["order_id"],
        "customer_id": place["customer_id"],
        "status": "PENDING",
        "currency": place.get("currency", "USD"),
        "total_amount": sum((item["quantity"] * item["unit_price"] for item in items), start=Decimal(0)),
        "version": 1,
        "created_at": run.started,
        "updated_at": run.started,
        "items": items,
        "history": [change],
    }


def _receive(folded: Folded, signal: Signal) -> None:
    """Carry out one signal, or refuse it."""
    asked = _read(signal)
    if asked is None or not _is_carried_out(folded.story, asked):
        rejection = {name: (asked or {}).get(name) for name in ("command_id", "status", "changed_by")}
        rejection["rejected_at"] = signal.decided, signal.replayed or signal.decided
        folded.rejections = [*folded.rejections, rejection][-REMEMBERED_REJECTIONS:]
        return
    story = folded.story
    if any(change["command_id"] == asked["command_id"] for change in story["history"]):
        return  # A repeat changes nothing.
    sent = _time(asked["sent_at"]) if asked["sent_at"] else signal.decided
    changed_at = max(min(sent, signal.decided), story["updated_at"])
    change = {
        "version": story["version"] + 1,
        "old_status": story["status"],
        "new_status": asked["status"],
        "changed_at": changed_at,
        **{name: asked[name] for name in TEXTS},
    }
    story["history"].append(change)
    story |= {"status": asked["status"], "version": change["version"], "updated_at": changed_at}


def _read(signal: Signal) -> dict[str, Any] | None:
    """What a signal asks for; None where it cannot be read."""
    said = signal.arguments[0] if signal.arguments else None
    said = {} if said is None else said
    known = TEXTS if signal.name == "cancel" else (*TEXTS, "status", "expected_version", "sent_at")
    if signal.name not in {"cancel", "update_status"} or len(signal.arguments) > 1:
        return None
    if not isinstance(said, dict) or not said.keys() <= {*known, "ignorable"}:
        return None
    said = {name: value for name, value in said.items() if name != "ignorable"}
    for name, value in said.items():
        if value is not None and type(value) is not (int if name == "expected_version" else str):
            return None
    asked = dict.fromkeys((*TEXTS, "expected_version", "sent_at")) | {"changed_by": "signal"}
    asked |= {name: value for name, value in said.items() if value is not None}
    if signal.name == "cancel":
        asked["status"] = "CANCELLED"
    return asked if "status" in asked else None


def _is_carried_out(story: Story, asked: dict[str, Any]) -> bool:
    """Whether the order does this, or has done it under the same command id."""
    for change in story["history"]:
        if asked["command_id"] is not None and change["command_id"] == asked["command_id"]:
            said = (asked["status"], asked["changed_by"], asked["on_behalf_of"], asked["reason"])
            return said == (
                change["new_status"],
                change["changed_by"],
                change["on_behalf_of"],
                change["reason"],
            )
    expected = asked["expected_version"]
    return expected in {None, story["version"]} and asked["status"] in TABLE[story["status"]]


def _differences_from_carried(folded: Folded, carried: dict[str, Any]) -> list[str]:
    story = story_of_record(carried["record"])
    found = differences(folded.story, story, SAME_TIME)
    found += differences_of_rejections(folded.rejections, carried["rejections"])
    return [f"continued as new with another {one}" for one in found]


def story_of_record(record: dict[str, Any]) -> Story:
    """The story that a workflow's JSON tells."""
    order = record["order"]
    return {
        **{name: order[name] for name in ("id", "customer_id", "status", "currency", "version")},
        "total_amount": Decimal(order["total_amount"]),
        "created_at": _time(order["created_at"]),
        "updated_at": _time(order["updated_at"]),
        "items": [
            {
                "product_id": item["product_id"],
                "quantity": item["quantity"],
                "unit_price": Decimal(item["unit_price"]),
            }
            for item in order["items"]
        ],
        "history": [
            {
                **{name: change[name] for name in ("version", "old_status", "new_status")},
                "changed_at": _time(change["changed_at"]),
                **{name: change.get(name) for name in TEXTS},
            }
            for change in record.get("history", ())
        ],
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def differences(expected: Story, told: Story, same_time: timedelta) -> list[str]:
    """Every field in which two stories differ, each as `field: expected, not told`."""
    found = []
    for name, value in expected.items():
        other = told[name]
        if isinstance(value, list) and len(value) == len(other):
            for position, (one, another) in enumerate(zip(value, other, strict=True)):
                found += [f"{name}.{position}.{it}" for it in differences(one, another, same_time)]
        elif isinstance(value, datetime) and isinstance(other, datetime):
            if abs(value - other) > same_time:
                found.append(f"{name}: {value.isoformat()}, not {other.isoformat()}")
        elif name == "command_id" and value is None:
            pass  # The system makes one up where a signal has none.
        elif value != other:
            found.append(f"{name}: {value}, not {other}")
    return found


def differences_of_rejections(expected: list[dict[str, Any]], told: list[dict[str, Any]]) -> list[str]:
    """Where a workflow remembers other refused signals than those that must have been refused."""
    names = ("command_id", "status", "changed_by")
    if len(told) != len(expected):
        return [f"rejections: {len(expected)}, not {len(told)}"]
    found = []
    for position, (one, other) in enumerate(zip(expected, told, strict=True)):
        found += [
            f"rejections.{position}.{name}: {one[name]}, not {other[name]}"
            for name in names
            if one[name] != other[name]
        ]
        heard = _time(other["rejected_at"])
        if not any(abs(time - heard) <= SAME_TIME for time in one["rejected_at"]):
            found.append(f"rejections.{position}.rejected_at: {one['rejected_at'][0]}, not {heard}")
    return found
