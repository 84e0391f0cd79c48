"""What `scripts/lint` does not see of how the code is put together: it runs the contracts on imports."""

import ast
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from settings import ROOT

ROOMS = {"api", "workflows", "activities", "database", "orders", "embedded", "doctor", "load"}
COMPOSITION_ROOTS = {"worker", "schedule", "cli", "demo"}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WHEEL = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])


def imported_by(file: Path) -> set[str]:
    """The top-level names of everything that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("name", sorted(ROOMS | COMPOSITION_ROOTS))
def test_what_is_imported_is_this_repositorys(name: str) -> None:
    origin = import_module(name).__file__

    assert origin is not None
    assert ROOT in Path(origin).parents


def test_it_is_an_application_that_no_index_accepts() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_no_composition_root(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))

    assert files
    assert {file.name: imported_by(file) & COMPOSITION_ROOTS for file in files} == {
        file.name: set() for file in files
    }


def test_the_wheel_holds_every_module_and_every_room() -> None:
    modules = {file.name for file in ROOT.glob("*.py")}
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}

    # What measures and what tests the system is not part of it.
    assert modules | packages - {"benchmarks", "chaos", "tests"} == WHEEL


def test_no_module_of_ours_hides_one_of_the_standard_library() -> None:
    assert not {name.removesuffix(".py") for name in WHEEL} & sys.stdlib_module_names
