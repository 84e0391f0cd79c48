"""Folders and programs for the embedded servers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from embedded.child import Program
from embedded.unprivileged import unprivileged_account


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter, as pytest's own are not when root runs the tests."""
    with TemporaryDirectory(prefix="orders-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us, although the user who runs PostgreSQL runs it."""
    account = unprivileged_account()
    with subprocess.Popen(["/bin/sleep", "60"], user=account and account[0], cwd="/") as process:
        yield process
        process.kill()


async def at_once() -> bool:
    return True


def python(code: str, *, patience: float = 10.0) -> Program:
    """A program that runs the code."""
    return Program(
        name="python",
        command=(sys.executable, "-c", code),
        environment={},
        folder=Path("/"),
        answers=at_once,
        patience=patience,
    )
