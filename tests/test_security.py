"""`docs/security.md` names tests; a test that is renamed or removed must not leave a promise behind."""

import re
from itertools import takewhile

import pytest

from settings import ROOT

PROMISES = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/security.md").read_text("utf-8"))


@pytest.mark.parametrize(("file", "name"), PROMISES)
def test_every_test_that_the_document_names_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text("utf-8") if name else (ROOT / file).exists()


def test_every_attack_of_the_document_is_held_by_a_test() -> None:
    lines = iter((ROOT / "docs/security.md").read_text("utf-8").splitlines())
    # A table goes on until a line that is none of its rows; below its head stands a rule.
    rows = [
        row
        for line in lines
        if line == "| attack | answer | held by |" and next(lines)
        for row in takewhile(lambda row: row.startswith("|"), lines)
    ]

    assert len(rows) > 50
    assert [row for row in rows if "`tests/" not in row] == []
