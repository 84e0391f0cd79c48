"""Telling people and machines what the doctor does and finds."""

import json
import sys
from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from doctor.examination import Examination
from doctor.findings import Finding

_STAGES = {
    "workflows": "Comparing workflows with PostgreSQL",
    "rows": "Comparing PostgreSQL with workflows",
    "suspects": "Looking closer",
    "repairs": "Mending",
}


class Bar:
    """Progress as a bar for each stage, on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._stage: TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """A stage begins, over about so many orders."""
        self._stage = self._bars.add_task(_STAGES[stage], total=total)

    def advance(self, orders: int) -> None:
        """So many more orders of the stage are done."""
        if self._stage is not None:
            self._bars.advance(self._stage, orders)


class Lines:
    """Progress as lines on standard error: one when a stage begins, and one at each tenth of it."""

    def __init__(self) -> None:
        self._stage, self._total, self._done = "", 0, 0

    def begin(self, stage: str, total: int) -> None:
        """A stage begins, over about so many orders."""
        self._stage, self._total, self._done = _STAGES[stage], total, 0
        self._tell()

    def advance(self, orders: int) -> None:
        """So many more orders of the stage are done."""
        tenths = self._tenths()
        self._done += orders
        if self._tenths() > tenths:
            self._tell()

    def _tenths(self) -> int:
        return 10 * self._done // max(1, self._total)

    def _tell(self) -> None:
        sys.stderr.write(f"{self._stage}: {self._done} of {self._total}\n")


def bars(console: Console) -> Bars:
    """The bars of a terminal; they are gone when the work is done."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def tell(examination: Examination) -> None:
    """Print each finding with what to do about it, and the sum."""
    console = Console(highlight=False, soft_wrap=True)
    for finding in examination.findings:
        mark = "[green]mended[/green]" if finding.mended else f"[red]{finding.kind}[/red]"
        console.print(f"{mark} order {finding.order_id}: {escape(finding.detail)}")
        if finding.todo:
            console.print(f"    to do: {escape(finding.todo)}")
    console.print(summarize(examination))


def summarize(examination: Examination) -> str:
    """One line: how much was compared, and what came of it."""
    compared = f"Workflows: {examination.workflows}. Orders in PostgreSQL: {examination.rows}."
    if not examination.findings:
        return f"{compared} All well."
    kinds = Counter(finding.kind for finding in examination.findings)
    found = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    mended = len(examination.findings) - len(examination.left)
    return f"{compared} Found: {found}. Mended: {mended}."


def tell_as_json(examination: Examination) -> None:
    """Print everything as one JSON object."""
    answer = {
        "workflows": examination.workflows,
        "rows": examination.rows,
        "findings": [_as_json(finding) for finding in examination.findings],
        "left": len(examination.left),
    }
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "order_id": str(finding.order_id),
        "kind": finding.kind,
        "detail": finding.detail,
        "todo": finding.todo or None,
        "mended": finding.mended,
    }
