"""Running as somebody else: PostgreSQL refuses to run as root, so root runs it as `postgres` or `nobody`.

What that user cannot enter (the programs or the data folder of a checkout under /root, say) is kept under
/var/lib instead. No folder that is not ours changes its permissions.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from embedded.child import EmbeddedError

WITHIN_REACH = Path("/var/lib/orders-embedded")

Account = tuple[int, int]  # user id and group id


def unprivileged_account() -> Account | None:
    """Who runs PostgreSQL: None is this very user, whom it refuses only if that is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise EmbeddedError("PostgreSQL refuses to run as root and no user `postgres` or `nobody` exists")


def run_as(account: Account | None, *command: str | Path, typed: str = "", **environment: str) -> None:
    """Run a short command to its end.

    Raises:
        EmbeddedError: it cannot be run or failed, with its last lines.
    """
    try:
        subprocess.run(  # noqa: S603 - callers write the command, no user does
            command,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, **environment},
            cwd="/",
            user=account and account[0],
            group=account and account[1],
            extra_groups=[] if account else None,
        )
    except subprocess.CalledProcessError as error:
        said = " / ".join(error.stdout.strip().splitlines()[-3:])
        raise EmbeddedError(f"{Path(command[0]).name} failed: {said}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedError(f"cannot run {command[0]}: {error}") from None


def runnable(account: Account | None, *command: str | Path) -> bool:
    """Whether the account can run the command with success; our own user is not asked."""
    if account is None:
        return True
    try:
        run_as(account, *command)
    except EmbeddedError:
        return False
    return True


def own(account: Account | None, folder: Path) -> None:
    """Give the folder and all that is in it to the account."""
    if account is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *account, follow_symlinks=False)


def folder_within_reach(folder: Path, account: Account | None) -> Path:
    """The folder, or the one that stands for it where the account cannot enter."""
    if runnable(account, "/bin/sh", "-c", 'cd "$1"', "sh", folder):
        return folder
    return _open_folder(_stand_in("data", str(folder)))


def programs_within_reach(bin_folder: Path, account: Account | None) -> Path:
    """The folder of the wheel's programs, or of their copies where the account cannot run them in place."""
    original = bin_folder / "postgres"
    if runnable(account, original, "--version"):
        return bin_folder
    package, libraries = bin_folder.parents[1], bin_folder.parents[2] / f"{bin_folder.parents[1].name}.libs"
    if not libraries.is_dir():
        raise EmbeddedError(f"the user who runs PostgreSQL cannot run {original}")
    made = original.stat()
    copy = _stand_in("programs", f"{original} {made.st_size} {made.st_mtime_ns}")
    if not copy.exists():
        _open_folder(WITHIN_REACH)
        draft = Path(tempfile.mkdtemp(dir=WITHIN_REACH, prefix="unfinished-"))
        # Side by side as in the wheel, because the programs find their libraries relative to themselves.
        shutil.copytree(
            package, draft / package.name, ignore=shutil.ignore_patterns("include", "*.py", "*.pyc")
        )
        shutil.copytree(libraries, draft / libraries.name)
        own(account, draft)
        with contextlib.suppress(OSError):  # another start was faster
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    return copy / bin_folder.relative_to(package.parent)


def _stand_in(kind: str, original: str) -> Path:
    return WITHIN_REACH / f"{kind}-{hashlib.sha256(original.encode()).hexdigest()[:16]}"


def _open_folder(folder: Path) -> Path:
    """Make a folder of ours that others can enter, whatever root's umask is, but not list."""
    for each in (WITHIN_REACH, folder):
        each.mkdir(exist_ok=True)
        each.chmod(0o711)
    return folder
