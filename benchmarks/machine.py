"""What a report says of where it was made: the machine, the versions, the commit."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from settings import ROOT


def machine() -> str:
    """What this machine is, on a line."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release()}"
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def packages(*names: str) -> str:
    """Python and the packages, with their versions."""
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {found}"


def commit() -> str:
    """The commit of this repository, and whether there are changes beside it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - the command is written here
            ["git", *arguments],  # noqa: S607 - whichever git there is
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain") else ""
    return (git("rev-parse", "--short", "HEAD") or "no commit") + changed


async def servers(client: Client, postgres: asyncpg.Connection) -> str:
    """The versions of the servers."""
    information = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    version, fsync = [await postgres.fetchval(f"SHOW {name}") for name in ("server_version", "fsync")]
    return f"Temporal server {information.server_version}, PostgreSQL {version} (fsync {fsync})"
