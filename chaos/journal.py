"""What happened, written down as it happens: one JSON object a line, appended and flushed.

Every entry has `at` (seconds of this machine's monotonic clock) and `event`. The events and who writes them:

    call, answer    a client, before and after each call; a call without an answer was cut off by the end
    row             the observer, a row of PostgreSQL that it had not seen like this before
    fault, lifted   the nemesis, before and after each fault
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Entry = dict[str, Any]


class Journal:
    """A file that one writer appends to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **fields: object) -> float:
        """Append an entry; the time that it was given."""
        at = time.monotonic()
        self._file.write(json.dumps({"at": at, "event": event, **fields}) + "\n")
        self._file.flush()
        return at

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def read_entries(folder: Path) -> list[Entry]:
    """Every entry of every journal in the folder, by time."""
    entries = (json.loads(line) for path in folder.glob("*.jsonl") for line in _whole_lines(path))
    return sorted(entries, key=lambda entry: float(entry["at"]))


def _whole_lines(path: Path) -> Iterator[str]:
    """Every line but a last one that a kill has cut off."""
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield line


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a client, and what came back. Times are seconds of the monotonic clock.

    `command` is the id of what the client wanted; a repeat is another call of the same command. `outcome` is
    one of `done` (its effect was shown), `accepted` (durable, undecided), `refused` and `unknown`; `version`,
    `shown_order`, `shown_status` and `shown_time` (of its last change) are those of the order in the answer.
    """

    id: str
    command: str
    kind: str
    via: str
    order: str | None = None
    status: str | None = None
    expected_version: int | None = None
    key: str | None = None
    body: Any = None
    sent: float
    answered: float | None = None
    outcome: str = "unknown"
    http: int | None = None
    reason: str | None = None
    shown_order: str | None = None
    shown_status: str | None = None
    shown_time: str | None = None
    version: int | None = None
    replayed: bool = False

    @property
    def is_acknowledged(self) -> bool:
        """Whether the system has promised something."""
        return self.outcome in {"done", "accepted"}


@dataclass(frozen=True, kw_only=True)
class Record:
    """The journals of a run, put in order."""

    calls: list[Call] = field(default_factory=list)
    rows: list[Entry] = field(default_factory=list)
    faults: list[Entry] = field(default_factory=list)

    @classmethod
    def of(cls, entries: list[Entry]) -> Self:
        """Put calls and answers, and faults and their ends, together."""
        answers = {entry["call"]: entry for entry in entries if entry["event"] == "answer"}
        lifted = {entry["fault"]: entry["at"] for entry in entries if entry["event"] == "lifted"}
        return cls(
            calls=[_call(entry, answers) for entry in entries if entry["event"] == "call"],
            rows=[entry for entry in entries if entry["event"] == "row"],
            faults=[
                entry | {"until": lifted.get(entry["fault"])}
                for entry in entries
                if entry["event"] == "fault"
            ],
        )


def _call(sent: Entry, answers: dict[str, Entry]) -> Call:
    asked = {name: value for name, value in sent.items() if name not in {"at", "event", "call"}}
    answer = answers.get(sent["call"], {})
    got = {name: value for name, value in answer.items() if name not in {"at", "event", "call"}}
    return Call(id=sent["call"], sent=sent["at"], answered=answer.get("at"), **(asked | got))
