"""How findings are told, without waiting for a doctor to make them."""

import json
from dataclasses import replace
from uuid import UUID

import pytest

from doctor.examination import Examination
from doctor.findings import Finding, Kind
from doctor.report import tell, tell_as_json

ORDER = UUID(int=7)
FOUND = Finding(
    order_id=ORDER,
    kind=Kind.AHEAD,
    detail="PostgreSQL has version 9 [PENDING]",
    todo="orders doctor --repair",
)
MENDED = replace(FOUND, todo="", mended=True)


def an_examination(*findings: Finding) -> Examination:
    return Examination(workflows=1, rows=2, findings=findings)


def test_what_was_found_is_told_with_what_to_do_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell(an_examination(FOUND))

    assert capsys.readouterr().out.splitlines() == [
        f"ahead order {ORDER}: PostgreSQL has version 9 [PENDING]",
        "    to do: orders doctor --repair",
        "Workflows: 1. Orders in PostgreSQL: 2. Found: 1 ahead. Mended: 0.",
    ]


def test_what_was_mended_leaves_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    tell(an_examination(MENDED))

    assert capsys.readouterr().out.splitlines() == [
        f"mended order {ORDER}: PostgreSQL has version 9 [PENDING]",
        "Workflows: 1. Orders in PostgreSQL: 2. Found: 1 ahead. Mended: 1.",
    ]


def test_as_json_what_was_mended_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    tell_as_json(an_examination(MENDED, FOUND))

    told = json.loads(capsys.readouterr().out)
    assert told["left"] == 1
    assert [(it["todo"], it["mended"]) for it in told["findings"]] == [
        (None, True),
        ("orders doctor --repair", False),
    ]
