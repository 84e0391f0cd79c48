"""The domain imports nothing but the standard library and itself; the linter keeps clocks and I/O out."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import orders

ALLOWED = sys.stdlib_module_names | {"orders"}
MODULES = sorted(Path(orders.__path__[0]).rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def foreign(source: str) -> list[str]:
    return [name for name in imports(source) if name.partition(".")[0] not in ALLOWED]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_domain_stands_on_the_standard_library_alone(module: Path) -> None:
    assert foreign(module.read_text()) == []


@pytest.mark.parametrize(
    "impurity", ["import sqlalchemy", "def f():\n  from temporalio import workflow", "from api import app"]
)
def test_an_import_from_elsewhere_is_seen(impurity: str) -> None:
    assert len(foreign(impurity)) == 1
