"""Make .venv hold what requirements-dev.txt says, and the project itself, if it does not yet.

Standard library only: it runs before anything is installed, on the Python that scripts/bootstrap found.
"""  # noqa: INP001 - a script, in a folder of scripts

import fcntl
import hashlib
import subprocess
import sys
import venv
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements-dev.txt"
# Written when all is installed and removed before anything changes: without it, the environment is half made.
STAMP = ENVIRONMENT / "installed"


def main() -> int:
    """Install what is missing; one process at a time."""
    wanted = [fingerprint_of_place(), fingerprint_of_needs()]
    if installed() == wanted:
        return 0
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that prepares .venv\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        present = installed()
        if present == wanted:
            return 0
        STAMP.unlink(missing_ok=True)
        if present[:1] != wanted[:1]:
            say("making .venv\n")
            venv.create(ENVIRONMENT, clear=True, symlinks=True, with_pip=True)
        install(lock.fileno(), "--require-hashes", "--requirement", str(REQUIREMENTS))
        install(lock.fileno(), "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        STAMP.write_text("\n".join(wanted))
        say("installed\n")
    return 0


def installed() -> list[str]:
    """The fingerprints of what is installed; none if that is unfinished."""
    return STAMP.read_text().splitlines() if STAMP.exists() else []


def fingerprint_of_place() -> str:
    """What a virtual environment cannot survive a change of: its Python and its own path."""
    return digest(sys.version.encode(), sys.base_prefix.encode(), bytes(ENVIRONMENT))


def fingerprint_of_needs() -> str:
    """What has to be installed."""
    return digest(*(path.read_bytes() for path in (REQUIREMENTS, ROOT / "pyproject.toml", Path(__file__))))


def digest(*parts: bytes) -> str:
    """One short text for all the parts."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def install(lock: int, *what: str) -> None:
    """Run pip, which holds the lock even if we are killed; show how far it is and what went wrong."""
    total = sum("==" in line for line in REQUIREMENTS.read_text().splitlines())
    last_lines: deque[str] = deque(maxlen=15)
    # --no-user: somebody's pip configuration may say otherwise, which a virtual environment refuses.
    command = [str(ENVIRONMENT / "bin" / "python"), "-I", "-m", "pip", "install", "--no-user", "--no-input"]
    with subprocess.Popen(  # noqa: S603 - the command is written here
        [*command, "--disable-pip-version-check", "--progress-bar=off", *what],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock],
    ) as pip:
        collected = 0
        for line in pip.stdout or ():
            last_lines.append(line)
            words = line.split()
            if words[:1] == ["Collecting"]:
                collected += 1
                say(f"collecting {collected} of at most {total}: {words[1]}", passing=True)
            elif words[:1] == ["Downloading"] and " MB)" in line:
                say(f"downloading {' '.join(words[1:])}", passing=True)
            elif words[:1] == ["Installing"]:
                say("installing", passing=True)
            elif words[:1] == ["WARNING:"]:
                say(line)
    if pip.returncode != 0:
        say("installing failed, and will go on at the next start:\n" + "".join(last_lines))
        sys.exit(1)


def say(text: str, *, passing: bool = False) -> None:
    """Write a line to the standard error; on a terminal, a passing one is overwritten by the next."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Korders: {text}")
    else:
        sys.stderr.write(f"orders: {text}\n" if passing else f"orders: {text}")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"orders: .venv cannot be made: {error}")
