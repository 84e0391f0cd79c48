"""`docs/security.md` names tests; a test that is renamed or removed must not leave a promise behind."""

import re

import pytest

from settings import ROOT

PROMISES = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/security.md").read_text("utf-8"))


@pytest.mark.parametrize(("file", "name"), PROMISES)
def test_every_test_that_the_document_names_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text("utf-8") if name else (ROOT / file).exists()


def test_every_attack_of_the_document_is_held_by_a_test() -> None:
    rows = [line for line in (ROOT / "docs/security.md").read_text("utf-8").splitlines() if " | " in line]

    assert len(rows) > 40
    assert [row for row in rows if "`tests/" not in row and "held by" not in row] == []
