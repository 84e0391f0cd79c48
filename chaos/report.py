"""The report of a run, as Markdown."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from benchmarks.machine import commit, machine, packages
from chaos.finding import Finding
from chaos.journal import Record
from chaos.order_in_time import faults_with_success
from chaos.quiet import Quiet

OUTCOMES = ("done", "accepted", "refused", "unknown")
MOST_SHOWN = 20
# A run in which hardly anything succeeded while something was broken has proved nothing.
LEAST_PER_FAULT = 2.0
LEAST_SHARE_OF_FAULTS = 0.5

PASSED, VIOLATED, INCONCLUSIVE = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run and its judgement. Times are seconds."""

    seed: int
    command_line: str
    mutant: str | None
    record: Record
    findings: list[Finding]
    observed: Finding
    quiet: Quiet
    orders: int
    events: int
    failed_tasks: Counter[str]
    restarts: dict[str, int]
    load_seconds: float
    all_seconds: float
    servers: str

    @property
    def violations(self) -> int:
        """How many times a promise was broken."""
        return sum(len(finding.violations) for finding in self.findings)

    @property
    def doubts(self) -> list[str]:
        """Why the run proves too little."""
        during, by_fault = faults_with_success(self.record)
        lucky = sum(count > 0 for count in by_fault.values())
        found = []
        if during < LEAST_PER_FAULT * max(1, len(by_fault)):
            found.append(f"{during} commands were acknowledged during {len(by_fault)} faults")
        if lucky < LEAST_SHARE_OF_FAULTS * max(1, len(by_fault)):
            found.append(f"in {len(by_fault) - lucky} of {len(by_fault)} faults none was acknowledged")
        found += [f"nothing was held against: {it.name}" for it in self.findings if it.checked == 0]
        return found

    @property
    def exit_code(self) -> int:
        """0 all held, 1 something did not, 3 too little was tried."""
        if self.violations:
            return VIOLATED
        return INCONCLUSIVE if self.doubts else PASSED

    @property
    def verdict(self) -> str:
        """The outcome in a line."""
        if self.violations:
            return f"{self.violations} violations"
        if self.doubts:
            return f"inconclusive: {'; '.join(self.doubts)}"
        return "no violation"


def write(result: Result) -> str:
    """The whole report."""
    during, by_fault = faults_with_success(result.record)
    commands = {call.command for call in result.record.calls if call.kind != "read"}
    calls = sum(call.kind != "read" for call in result.record.calls)
    size = (
        f"{len(by_fault)} faults · {len(commands):,} commands in {calls:,} calls · {result.orders:,} orders, "
        f"{result.events:,} events in their histories"
    )
    course = (
        f"{during:,} calls were acknowledged while a fault was on. The load lasted "
        f"{result.load_seconds:.0f} s, the whole run {result.all_seconds:.0f} s. After healing, the orders "
        f"came to rest within {result.quiet.orders_seconds:.1f} s, the last sweep within "
        f"{result.quiet.promotion_seconds:.1f} s."
    )
    lines = [
        f"# Chaos, seed {result.seed}: {result.verdict}",
        "",
        f"`{result.command_line}` · {size}",
        "",
        course,
        "",
        *([f"The system was broken on purpose: `{result.mutant}`.", ""] if result.mutant else []),
        "## Invariants",
        "",
        "| invariant | checked | violations |",
        "|---|--:|--:|",
        *(f"| {it.name} | {it.checked:,} | {len(it.violations)} |" for it in result.findings),
        "",
        *_violations(result.findings),
        *_observed(result.observed),
        *_faults(result.record, by_fault),
        *_calls(result.record),
        "## Processes and tasks",
        "",
        f"Starts: {', '.join(f'{name} {count}' for name, count in result.restarts.items())}.",
        "",
        f"Workflow tasks that Temporal counts as failed: {_counted(result.failed_tasks)}.",
        "",
        "## Machine and versions",
        "",
        f"- {machine()}",
        f"- {result.servers}",
        f"- {packages('temporalio', 'fastapi', 'sqlalchemy', 'asyncpg')}",
        f"- this repository at {commit()}",
        "",
    ]
    return "\n".join(lines)


def _violations(findings: list[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        if finding.violations:
            shown = finding.violations[:MOST_SHOWN]
            lines += [f"### Violated: {finding.name}", "", *(f"- {it}" for it in shown)]
            if len(finding.violations) > len(shown):
                lines.append(f"- … and {len(finding.violations) - len(shown)} more")
            lines.append("")
    return lines


def _observed(finding: Finding) -> list[str]:
    """What is not promised, and yet worth knowing."""
    told = (
        f"{finding.name}: {finding.checked:,} times looked at, {len(finding.violations)} times not so. "
        "PostgreSQL may be behind (decision 0001)."
    )
    return [
        "## Observed, not promised",
        "",
        told,
        "",
        *(f"- {it}" for it in finding.violations[:MOST_SHOWN]),
        *([""] if finding.violations else []),
    ]


def _faults(record: Record, by_fault: dict[int, int]) -> list[str]:
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    acknowledged: Counter[str] = Counter()
    for fault in record.faults:
        kinds[fault["kind"]][fault["target"]] += 1
        acknowledged[fault["kind"]] += by_fault[fault["fault"]]
    return [
        "## Faults",
        "",
        "| fault | times | commands acknowledged meanwhile | where |",
        "|---|--:|--:|---|",
        *(
            f"| {kind} | {targets.total()} | {acknowledged[kind]} | {_counted(targets)} |"
            for kind, targets in sorted(kinds.items())
        ),
        "",
    ]


def _calls(record: Record) -> list[str]:
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    statuses: Counter[str] = Counter()
    for call in record.calls:
        rows[call.kind, call.via][call.outcome] += 1
        rows[call.kind, call.via]["replayed"] += call.replayed
        if call.via == "http":
            statuses[f"{call.http or 'none'} {call.reason or ''}".strip()] += 1
    return [
        "## Calls",
        "",
        f"| call | via | {' | '.join(OUTCOMES)} | of them replayed |",
        f"|---|---|{'--:|' * (len(OUTCOMES) + 1)}",
        *(
            f"| {kind} | {via} | {' | '.join(f'{counts[it]:,}' for it in (*OUTCOMES, 'replayed'))} |"
            for (kind, via), counts in sorted(rows.items())
        ),
        "",
        f"Answers by HTTP: {_counted(statuses)}.",
        "",
    ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"
