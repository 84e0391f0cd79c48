from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.journal import Journal, Record, read_entries

CALL = {"command": "c1-1", "kind": "read", "via": "http", "order": "x"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "client.jsonl")
    yield journal
    journal.close()


def test_an_entry_is_on_disk_at_once(tmp_path: Path, journal: Journal) -> None:
    journal.write("call", call="c1-1.1", **CALL)

    assert [entry["call"] for entry in read_entries(tmp_path)] == ["c1-1.1"]


def test_a_call_and_its_answer_are_put_together(tmp_path: Path, journal: Journal) -> None:
    sent = journal.write("call", call="c1-1.1", **CALL)
    answered = journal.write("answer", call="c1-1.1", outcome="done", http=200, version=1)

    (call,) = Record.of(read_entries(tmp_path)).calls

    assert (call.sent, call.answered, call.outcome, call.version) == (sent, answered, "done", 1)


def test_a_call_without_an_answer_is_unknown(tmp_path: Path, journal: Journal) -> None:
    journal.write("call", call="c1-1.1", **CALL)

    (call,) = Record.of(read_entries(tmp_path)).calls

    assert call.outcome == "unknown"
    assert call.answered is None


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path, journal: Journal) -> None:
    journal.write("call", call="c1-1.1", **CALL)
    with (tmp_path / "client.jsonl").open("a") as file:
        file.write('{"at": 3, "eve')

    assert len(read_entries(tmp_path)) == 1


def test_a_fault_knows_when_it_was_lifted(tmp_path: Path, journal: Journal) -> None:
    journal.write("fault", fault=1, kind="kill", target="postgres")
    lifted = journal.write("lifted", fault=1)
    journal.write("fault", fault=2, kind="kill", target="temporal")

    assert [fault["until"] for fault in Record.of(read_entries(tmp_path)).faults] == [lifted, None]
