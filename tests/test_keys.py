"""`orders keys` as people run it: what is printed where, and how it ends."""

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from embedded.child import free_port
from settings import ROOT
from tests.conftest import Servers
from tests.databases import EMPTY, a_database

KEY = re.compile(r"orders_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\n")
EVERYTHING = ["orders:operate", "orders:read", "orders:write"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said on either stream."""

    code: int
    out: str
    err: str


async def keys(*arguments: str, url: str = "") -> Outcome:
    """Run `orders keys` on a database."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        "PYTHON_DOTENV_DISABLED": "1",
        "DATABASE_URL": url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli", "keys", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Outcome(int(process.returncode or 0), out.decode(), err.decode())


@pytest.fixture
async def scratch(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """The URLs of a migrated database without a key, and of one with nothing in it."""
    async with a_database(servers.database_url) as migrated, a_database(servers.database_url, EMPTY) as empty:
        yield {"migrated": migrated, "empty": empty}


@pytest.fixture
def url(scratch: dict[str, str]) -> str:
    return scratch["migrated"]


async def rows(url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        found: list[asyncpg.Record] = await connection.fetch("SELECT * FROM api_keys ORDER BY created_at")
    finally:
        await connection.close()
    return found


def one_line(outcome: Outcome) -> str:
    """What a refused command says, which is one line on standard error."""
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("orders: ")
    return outcome.err.removeprefix("orders: ")


async def test_a_key_is_made_listed_and_revoked(url: str) -> None:
    made = await keys("create", "shop", url=url)
    listed = await keys("list", url=url)
    key_id, _ = KEY.fullmatch(made.out).groups()  # type: ignore[union-attr]
    revoked = await keys("revoke", key_id, url=url)
    after = await keys("list", url=url)

    assert (made.code, listed.code, revoked.code, after.code) == (0, 0, 0, 0)
    assert key_id in made.err
    assert [line.split()[:5] for line in listed.out.splitlines()[1:]] == [[key_id, "shop", *EVERYTHING]]
    assert revoked.out == ""
    assert revoked.err.count("\n") == 1
    (before_line, after_line) = (text.splitlines()[1].split() for text in (listed.out, after.out))
    assert len(after_line) == len(before_line) + 2  # the day and the minute of its end


async def test_a_key_is_shown_once_and_nobody_else_keeps_it(url: str) -> None:
    made = await keys("create", "shop", url=url)
    listed = await keys("list", url=url)

    match = KEY.fullmatch(made.out)
    assert match
    secret = match[2]
    assert secret not in made.err + listed.out + listed.err
    (row,) = await rows(url)
    assert row["digest"] == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(row)


async def test_no_two_keys_are_alike(url: str) -> None:
    made = [await keys("create", "shop", url=url) for _ in range(2)]

    assert len({outcome.out for outcome in made}) == 2
    assert [row["name"] for row in await rows(url)] == ["shop", "shop"]


async def test_a_key_allows_what_is_asked_for_and_all_where_nothing_is(url: str) -> None:
    await keys("create", "all", url=url)
    await keys("create", "some", "--scope", "orders:write", "--scope", "orders:read", url=url)
    await keys("create", "one", "--scope", "orders:read", "--scope", "orders:read", url=url)

    assert {row["name"]: row["scopes"] for row in await rows(url)} == {
        "all": EVERYTHING,
        "some": ["orders:read", "orders:write"],
        "one": ["orders:read"],
    }


async def test_a_list_without_a_key_says_what_that_means(url: str) -> None:
    listed = await keys("list", url=url)

    assert (listed.code, listed.err) == (0, "")
    assert listed.out.startswith("There are no API keys: ")


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\nb", "-a", ".a", "a" * 65, "a\x1b[31m", "naïve", "a,b", "a/b"]
)
async def test_a_name_that_a_log_could_not_show_is_refused(url: str, name: str) -> None:
    refused = await keys("create", "--", name, url=url)

    assert refused.code == 1
    assert one_line(refused).startswith("a name is 1 to 64 letters, digits")
    assert await rows(url) == []


async def test_the_name_of_callers_without_a_key_is_refused(url: str) -> None:
    refused = await keys("create", "api", url=url)

    assert (refused.code, one_line(refused)) == (
        1,
        "'api' is how histories name changes that no key has made\n",
    )
    assert await rows(url) == []


@pytest.mark.parametrize("scope", ["orders:delete", "", "ORDERS:READ", "read"])
async def test_an_unknown_scope_is_refused_and_the_known_ones_are_named(url: str, scope: str) -> None:
    refused = await keys("create", "shop", "--scope", scope, url=url)

    assert (refused.code, one_line(refused)) == (
        1,
        f"there is no scope {scope!r}; there are orders:read, orders:write, orders:operate\n",
    )
    assert await rows(url) == []


async def test_revoking_again_changes_nothing(url: str) -> None:
    await keys("create", "shop", url=url)
    (made,) = await rows(url)
    first = await keys("revoke", made["id"], url=url)
    (revoked,) = await rows(url)

    again = await keys("revoke", made["id"], url=url)

    assert (first.code, again.code) == (0, 0)
    assert await rows(url) == [revoked]


@pytest.mark.parametrize("key_id", ["0123456789abcdef", "", "%", "' OR true --"])
async def test_revoking_what_is_not_there_is_refused(url: str, key_id: str) -> None:
    await keys("create", "shop", url=url)

    refused = await keys("revoke", "--", key_id, url=url)

    assert refused.code == 1
    assert "there is no key with this id" in one_line(refused)
    assert [row["revoked_at"] for row in await rows(url)] == [None]


COMMANDS = [("create", "shop"), ("list",), ("revoke", "0123456789abcdef")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_database_that_was_not_migrated_says_how_to(
    scratch: dict[str, str], command: tuple[str, ...]
) -> None:
    refused = await keys(*command, url=scratch["empty"])

    assert (refused.code, one_line(refused)) == (
        2,
        "The database has no API keys yet: run `orders migrate`\n",
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_missing_database_url_is_one_line_and_exit_code_2(command: tuple[str, ...]) -> None:
    refused = await keys(*command)

    assert refused.code == 2
    assert one_line(refused).startswith("DATABASE_URL is not set: ")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_database_that_does_not_answer_is_one_line(command: tuple[str, ...]) -> None:
    port = free_port()

    refused = await keys(*command, url=f"postgresql://orders@127.0.0.1:{port}/orders")

    assert refused.code == 1
    assert one_line(refused).startswith("PostgreSQL is unavailable: ")


async def test_a_wrong_password_and_a_wrong_database_are_one_line(servers: Servers) -> None:
    host = servers.database_url.rpartition("@")[2]

    stranger = await keys("list", url=f"postgresql://orders:hunter2@{host}")
    lost = await keys("list", url=f"{servers.database_url}-missing")

    assert (stranger.code, lost.code) == (1, 1)
    assert "password authentication failed" in one_line(stranger)
    assert '"orders-missing" does not exist' in one_line(lost)
    assert "hunter2" not in stranger.err
