"""One run from start to verdict: start the stack, drive it under faults, heal it, wait, and judge."""

import asyncio
import contextlib
import math
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowHistory

from benchmarks.machine import servers
from benchmarks.progress import Progress
from chaos.calls import Caller
from chaos.checker import check
from chaos.clients import Client, Market
from chaos.evidence import OrderEvidence, gather, gather_sweeps
from chaos.finding import Finding
from chaos.journal import Journal, Record, read_entries
from chaos.nemesis import KINDS, Nemesis, plan
from chaos.observer import observe
from chaos.order_in_time import check_time, observe_reads
from chaos.quiet import Quiet, until_quiet
from chaos.replay import replay
from chaos.report import Result
from chaos.stack import Stack
from embedded.child import EmbeddedError

CLIENTS = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run shall be: it lasts until so many faults were brought about and so many commands sent."""

    seed: int
    faults: int
    commands: int
    kinds: tuple[str, ...] = KINDS
    mutant: str | None = None

    @property
    def command_line(self) -> str:
        """How to do the same again."""
        size = f"--seed {self.seed} --faults {self.faults} --commands {self.commands}"
        only = "" if self.kinds == KINDS else "".join(f" --only '{kind}'" for kind in self.kinds)
        return f"scripts/chaos {size}{only}{f' --mutant {self.mutant}' if self.mutant else ''}"


async def run(wanted: Wanted, folder: Path, progress: Progress) -> Result:
    """Carry out one run; its journals and logs go to the folder.

    Raises:
        EmbeddedError: the stack cannot be started.
    """
    began = time.monotonic()
    progress.say(f"seed {wanted.seed}; starting the stack")
    async with _data_folder() as data, Stack.running(data, folder, wanted.mutant) as stack:
        client = await Temporal.connect(stack.temporal_address)
        loaded = time.monotonic()
        async with _observed(stack, folder):
            await _drive(wanted, stack, client, folder, progress)
            load_seconds = time.monotonic() - loaded
            progress.say("healing")
            quiet = await _heal(stack, client)
        progress.say(f"at rest after {quiet.promotion_seconds:.1f} s; gathering the evidence")
        record = Record.of(read_entries(folder))
        known = {call.shown_order for call in record.calls if call.shown_order}
        orders = await gather(client, stack.database_url, known)
        sweeps = await gather_sweeps(client)
        versions = await _versions(stack, client)
        starts = {name: process.starts for name, process in stack.processes.items()}
    progress.say(f"judging {len(orders)} orders")
    findings = check(record, orders) + check_time(record, orders, quiet)
    findings.append(await _replayed(orders, sweeps, progress))
    _keep_evidence(findings, orders, folder)
    return Result(
        seed=wanted.seed,
        command_line=wanted.command_line,
        mutant=wanted.mutant,
        record=record,
        findings=findings,
        observed=observe_reads(record),
        quiet=quiet,
        orders=len(orders),
        events=sum(len(it.events) for order in orders.values() for it in order.histories),
        failed_tasks=sum((order.failed_tasks for order in orders.values()), start=Counter()),
        restarts=starts,
        load_seconds=load_seconds,
        all_seconds=time.monotonic() - began,
        servers=versions,
    )


async def _heal(stack: Stack, client: Temporal) -> Quiet:
    """Lift every fault and wait for rest; a system that does not become ready never rests."""
    healed = time.monotonic()
    try:
        await stack.heal()
    except EmbeddedError as error:
        return Quiet(orders_seconds=math.inf, promotion_seconds=math.inf, restless=[str(error)])
    return await until_quiet(client, stack.database_url, healed)


def _journal(opened: contextlib.ExitStack, path: Path) -> Journal:
    return opened.enter_context(contextlib.closing(Journal(path)))


async def _drive(wanted: Wanted, stack: Stack, client: Temporal, folder: Path, progress: Progress) -> None:
    """Let the clients work and the nemesis strike until there was enough of both."""
    market = Market()
    stop = asyncio.Event()
    with contextlib.ExitStack() as opened:
        clients = []
        for number in range(CLIENTS):
            journal = _journal(opened, folder / f"client-{number}.jsonl")
            chance = random.Random(f"{wanted.seed}-client-{number}")  # noqa: S311 - repeatable, not secret
            caller = Caller(journal, stack.api_urls, client, chance)
            clients.append(Client(f"c{number}", chance, market, caller))
        nemesis = Nemesis(stack, _journal(opened, folder / "nemesis.jsonl"))
        async with asyncio.TaskGroup() as group:
            for each in clients:
                group.create_task(each.live(stop))
            for fault in plan(wanted.seed, wanted.kinds):
                if fault.number > wanted.faults and len(market.commands) >= wanted.commands:
                    break
                sent = len(market.commands)
                share = min(fault.number / wanted.faults, sent / wanted.commands, 1.0)
                progress.show(
                    share,
                    f"fault {fault.number} of {wanted.faults}, {sent} of {wanted.commands} commands: "
                    f"{fault.kind}, {fault.target}, {fault.lasts:g} s",
                )
                await nemesis.strike(fault)
            stop.set()


@contextlib.asynccontextmanager
async def _data_folder() -> AsyncIterator[Path]:
    with TemporaryDirectory(prefix="orders-chaos-data-", ignore_cleanup_errors=True) as name:
        # PostgreSQL's own user must get in, when root runs this.
        os.chmod(name, 0o711)  # noqa: S103, PTH101 - a Path's would count as blocking
        yield Path(name)


@contextlib.asynccontextmanager
async def _observed(stack: Stack, folder: Path) -> AsyncIterator[None]:
    stop = asyncio.Event()
    with contextlib.ExitStack() as opened:
        journal = _journal(opened, folder / "observer.jsonl")
        async with asyncio.TaskGroup() as group:
            group.create_task(observe(stack.database_url, journal, stop))
            try:
                yield
            finally:
                stop.set()


async def _replayed(
    orders: dict[str, OrderEvidence], sweeps: list[WorkflowHistory], progress: Progress
) -> Finding:
    finding = Finding(name="Every history replays")
    histories = [history for order in orders.values() for history in order.histories] + sweeps
    async for complaint in replay(histories):
        finding.expect(not complaint, complaint)
        progress.count("replayed", finding.checked, len(histories))
    return finding


def _keep_evidence(findings: list[Finding], orders: dict[str, OrderEvidence], folder: Path) -> None:
    """Write down the histories of the orders that a violation names."""
    complaints = " ".join(it for finding in findings for it in finding.violations)
    for order in orders.values():
        if order.id in complaints:
            for number, history in enumerate(order.histories, start=1):
                (folder / f"order-{order.id}-{number}.json").write_text(history.to_json())


async def _versions(stack: Stack, client: Temporal) -> str:
    connection = await asyncpg.connect(stack.database_url, ssl=False)
    try:
        return await servers(client, connection)
    finally:
        await connection.close()


def new_seed() -> int:
    """A seed for a run that was given none."""
    return random.SystemRandom().randrange(1_000_000)
