"""Comparing every order in PostgreSQL with every order in Temporal, and mending what differs."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowExecution

from database import audit, projection
from database.projection import Rows, rows_of
from doctor.findings import Finding, diagnose, find_flaw
from doctor.temporal import Workflows
from orders.order import OrderKey, OrderRecord
from orders.status import OrderStatus
from workflows.attributes import CUSTOMER, STATUS
from workflows.client import Silent

PAGE_SIZE = 500
"""Orders read at once; their ids make a query of some 20 kB for Temporal."""
CONCURRENCY = 10
"""Workflows asked at once: each may cost a worker a replay, and orders that move need the workers, too."""
PAUSES = (2.0, 12.0)
"""Seconds before looking again at what seemed wrong. All together longer than a projection takes to come
after an outage that has ended: its retries are ten seconds apart."""
PATIENCE = 10.0
"""Seconds to wait for one answer of Temporal."""
# Shorter than the two seconds that the local activity of a projection waits for the lock that is held then.
_PATIENCE_UNDER_LOCK = 1.5
_ATTEMPTS = 3

T = TypeVar("T")


class Progress(Protocol):
    """Who is told how far an examination is."""

    def begin(self, stage: str, total: int) -> None:
        """A stage begins, over about so many orders."""

    def advance(self, orders: int) -> None:
        """So many more orders of the stage are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What an examination found: how many orders either side has, and what is wrong with which."""

    workflows: int
    rows: int
    findings: tuple[Finding, ...]

    @property
    def left(self) -> tuple[Finding, ...]:
        """The findings that were not mended."""
        return tuple(finding for finding in self.findings if not finding.mended)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Compares the two sides in three stages, in pages, and keeps in memory only what seems wrong.

    1. Every workflow that Temporal lists has a row, with its status and its customer. To ask each
       workflow for its whole order would have workers replay every one of them: a list gives a thousand
       of them for one call. `deep` asks all the same.
    2. The rows of every order fit together, and an open order has a running workflow. What a hand did to
       one row shows here, and so does an order that Temporal has lost.
    3. What seemed wrong is looked at again, one by one: PostgreSQL is read, then the workflow is asked, and
       the two compared in full. A list of Temporal's may lag, and an order may be on its way to PostgreSQL,
       so only what is wrong at every look, seconds apart, is a finding.
    """

    engine: AsyncEngine
    client: Client
    deep: bool = False
    repair: bool = False
    page_size: int = PAGE_SIZE
    pauses: tuple[float, ...] = PAUSES
    patience: float = PATIENCE

    async def examine(self, progress: Progress) -> Examination:
        """Look at every order and, where asked to, mend what can be mended.

        Raises:
            CouldNotLook: Temporal is away, or no worker answers.
            DatabaseUnavailable: PostgreSQL is away.
        """
        suspects: set[UUID] = set()
        progress.begin("workflows", await self._workflows.count())
        workflows = 0
        async for page in self._workflows.pages(self.page_size):
            suspects |= await self._suspects_among_workflows(page)
            workflows += len(page)
            progress.advance(len(page))
        progress.begin("rows", await audit.count(self.engine))
        rows, after = 0, None
        while stored := await audit.read_page(self.engine, after=after, limit=self.page_size):
            suspects |= await self._suspects_among_rows(stored)
            after = _key(stored[-1])
            rows += len(stored)
            progress.advance(len(stored))
        findings = await self._confirm(suspects, progress)
        if self.repair and findings:
            findings = await self._mend_all(findings, progress)
        return Examination(workflows=workflows, rows=rows, findings=tuple(findings))

    @property
    def _workflows(self) -> Workflows:
        return Workflows(self.client, self.patience)

    async def _suspects_among_workflows(self, listed: dict[UUID, WorkflowExecution]) -> set[UUID]:
        stored = await audit.read_rows(self.engine, listed)
        suspects = {it for it, execution in listed.items() if _seems_wrong(execution, stored.get(it))}
        if self.deep:
            for some in _batches(listed.keys() - suspects, CONCURRENCY):
                answers = await self._workflows.ask_all(some)
                pairs = zip(some, answers, strict=True)
                suspects |= {it for it, known in pairs if diagnose(it, stored.get(it), known)}
        return suspects

    async def _suspects_among_rows(self, page: list[Rows]) -> set[UUID]:
        open_ids = [rows.order["id"] for rows in page if not OrderStatus(rows.order["status"]).is_terminal]
        running = await self._workflows.running(open_ids)
        return {it for it in open_ids if it not in running} | {
            rows.order["id"] for rows in page if find_flaw(rows)
        }

    async def _confirm(self, suspects: Collection[UUID], progress: Progress) -> list[Finding]:
        """What is wrong with the suspects at every look."""
        findings: list[Finding] = []
        for pause in (0, *self.pauses):
            if not suspects:
                break
            await asyncio.sleep(pause)
            findings = await self._look(suspects, progress)
            suspects = {finding.order_id for finding in findings}
        return findings

    async def _look(self, order_ids: Collection[UUID], progress: Progress) -> list[Finding]:
        progress.begin("suspects", len(order_ids))
        findings: list[Finding] = []
        for some in _batches(order_ids, CONCURRENCY):
            # In this order: a workflow is never behind what it had projected before.
            stored = await audit.read_rows(self.engine, some)
            answers = await self._workflows.ask_all(some)
            for order_id, known in zip(some, answers, strict=True):
                findings += diagnose(order_id, stored.get(order_id), known)
            progress.advance(len(some))
        return findings

    async def _mend_all(self, findings: list[Finding], progress: Progress) -> list[Finding]:
        mendable = [finding for finding in findings if finding.kind.is_mendable]
        progress.begin("repairs", len(mendable))
        results: list[Finding] = [finding for finding in findings if not finding.kind.is_mendable]
        for some in _batches(mendable, CONCURRENCY):
            results += await asyncio.gather(*(self.mend(finding) for finding in some))
            progress.advance(len(some))
        return results

    async def mend(self, finding: Finding) -> Finding:
        """Write what the workflow says until PostgreSQL has it; the finding, with what came of it.

        Written, and not asked of the workflow: a projection only moves forward and would leave what is
        wrong at the same version, and a workflow that has ended projects no more.
        """
        order_id = finding.order_id
        try:
            for _ in range(_ATTEMPTS):
                stored = (await audit.read_rows(self.engine, [order_id])).get(order_id)
                record = await self._workflows.record(order_id)
                if stored == rows_of(record):
                    return replace(finding, mended=True, todo="")
                await self._write(order_id, stored, record)
        except Silent as silent:
            return replace(finding, todo=f"{finding.todo}, again: its workflow did not answer: {silent}")
        except DBAPIError as refusal:
            return replace(finding, todo=f"PostgreSQL refuses what its workflow says: {_reason(refusal)}")
        return replace(finding, todo=f"{finding.todo}, again: the order moved meanwhile")

    async def _write(self, order_id: UUID, stored: Rows | None, record: OrderRecord) -> None:
        if stored is None:
            await projection.project(self.engine, record)  # Never takes PostgreSQL back, whoever else writes.
            return
        under_lock = Workflows(self.client, _PATIENCE_UNDER_LOCK)
        await audit.overwrite(self.engine, stored, lambda: under_lock.record(order_id))


def _seems_wrong(execution: WorkflowExecution, stored: Rows | None) -> bool:
    """Whether what Temporal's list says of an order is not what PostgreSQL has."""
    if stored is None:
        return True
    attributes = execution.typed_search_attributes
    listed = (attributes.get(STATUS), attributes.get(CUSTOMER))
    return listed != (stored.order["status"], stored.order["customer_id"])


def _key(rows: Rows) -> OrderKey:
    return OrderKey(created_at=rows.order["created_at"], order_id=rows.order["id"])


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(things)
    while batch := list(islice(left, size)):
        yield batch


def _reason(error: DBAPIError) -> str:
    return str(error).partition("\n")[0]
