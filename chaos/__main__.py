"""`scripts/chaos`: break the system in every way, and prove that nothing is lost."""

import argparse
import asyncio
import sys
import tempfile
import traceback
from pathlib import Path

import process
from benchmarks.progress import Progress
from chaos.mutants import MUTANTS
from chaos.nemesis import DECK, KINDS
from chaos.report import write
from chaos.run import Wanted, new_seed, run
from embedded.child import EmbeddedError

SHORT = {"faults": len(DECK), "commands": 300}
LONG = {"faults": 110, "commands": 10_000}
CANNOT_RUN = 2


def main() -> int:
    """Run as the command line says.

    Answers 0 when every promise was kept, 1 when one was broken, 2 when the stack cannot run, 3 when too
    little succeeded to prove anything, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__, epilog=main.__doc__)
    parser.add_argument("--short", action="store_true", help="about two minutes instead of the long form")
    parser.add_argument("--seed", type=int, help="replay the faults of a seed; by default a new one")
    parser.add_argument("--faults", type=_count, help="how many faults at least")
    parser.add_argument("--commands", type=_count, help="how many commands at least")
    parser.add_argument("--only", action="append", choices=KINDS, help="only this kind of fault; repeatable")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="judge a system that is broken on purpose")
    parser.add_argument("--keep", type=_folder, help="where journals and logs go; by default a new folder")
    parser.add_argument("--report", type=Path, help="write the report into this file, too")
    asked = parser.parse_args()
    size = SHORT if asked.short else LONG
    wanted = Wanted(
        seed=new_seed() if asked.seed is None else asked.seed,
        faults=asked.faults or size["faults"],
        commands=asked.commands or size["commands"],
        kinds=tuple(asked.only or KINDS),
        mutant=asked.mutant,
    )
    folder = asked.keep or Path(tempfile.mkdtemp(prefix=f"orders-chaos-{wanted.seed}-"))
    progress = Progress()
    try:
        result = asyncio.run(process.until_told_to_stop(run(wanted, folder, progress)))
    except (EmbeddedError, OSError) as error:
        sys.stderr.write(f"chaos: {error}\n")
        return CANNOT_RUN
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.say("interrupted; everything is stopped")
        return process.INTERRUPTED_EXIT_CODE
    except Exception:  # noqa: BLE001 - the process's outermost edge: 1 would say that a promise was broken
        traceback.print_exc()
        return CANNOT_RUN
    report = write(result)
    (folder / "report.md").write_text(report)
    if asked.report:
        asked.report.write_text(report)
    sys.stdout.write(report)
    progress.say(f"seed {wanted.seed}: {result.verdict}; journals and logs are in {folder}")
    return result.exit_code


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _folder(text: str) -> Path:
    """An existing folder without journals, which would be read as this run's."""
    folder = Path(text)
    if not folder.is_dir() or any(folder.glob("*.jsonl")):
        raise ValueError
    return folder


if __name__ == "__main__":
    # Not `sys.exit`: the Temporal client may crash an interpreter that is finalizing.
    process.leave(main())
