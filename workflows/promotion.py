"""The promotion: a sweep that sends every PENDING order on to PROCESSING."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.promotion import FindPage, Page, PromotionActivities
    from orders.order import OrderKey

PAGES_AT_ONCE = 4

# Temporal writes on each scheduled run the time that it was scheduled for; a backfilled run has an old one.
_SCHEDULED_FOR = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

_PATIENCE = timedelta(minutes=10)
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Where a sweep is: all empty at its start, filled in by continue-as-new."""

    placed_before: datetime | None = None
    after: OrderKey | None = None
    signalled: int = 0
    failed_pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a sweep did. Whether an order moved, the order decided."""

    placed_before: datetime
    signalled: int


@workflow.defn(name="PromotionWorkflow")
class PromotionWorkflow:
    """One sweep over the orders that were PENDING and placed before its scheduled time."""

    @workflow.init
    def __init__(self, sweep: Sweep = Sweep()) -> None:
        self._after = sweep.after
        self._signalled = sweep.signalled
        self._failed_pages = sweep.failed_pages
        self._placed_before = sweep.placed_before or _scheduled_time()
        self._places = asyncio.Semaphore(PAGES_AT_ONCE)

    @workflow.run
    async def run(self, sweep: Sweep = Sweep()) -> SweepResult:  # noqa: ARG002 - `__init__` reads it
        """Walk the pages in order and promote several at once.

        A page that cannot be promoted within ten minutes fails the sweep, after all others have had
        their turn; the next sweep meets its orders again.
        """
        pages: list[asyncio.Task[None]] = []
        try:
            while page := await self._find_page():
                await self._places.acquire()
                pages.append(asyncio.create_task(self._promote(page)))
                self._after = page.until
                if workflow.info().is_continue_as_new_suggested():
                    break
        finally:
            # Not a TaskGroup: its ExceptionGroup is no failure to Temporal, which would retry for ever.
            await asyncio.gather(*pages)
        if page:
            workflow.continue_as_new(self._position())
        if self._failed_pages:
            raise ApplicationError(f"{self._failed_pages} pages could not be promoted", non_retryable=True)
        return SweepResult(placed_before=self._placed_before, signalled=self._signalled)

    def _position(self) -> Sweep:
        return Sweep(
            placed_before=self._placed_before,
            after=self._after,
            signalled=self._signalled,
            failed_pages=self._failed_pages,
        )

    async def _find_page(self) -> Page | None:
        return await workflow.execute_activity_method(
            PromotionActivities.find_page,
            FindPage(placed_before=self._placed_before, after=self._after),
            schedule_to_close_timeout=_PATIENCE,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=_RETRIES,
        )

    async def _promote(self, page: Page) -> None:
        try:
            # Not `+=`: it would read the sum before the wait, and other pages end meanwhile.
            signalled = await workflow.execute_activity_method(
                PromotionActivities.promote_page,
                page,
                schedule_to_close_timeout=_PATIENCE,
                heartbeat_timeout=timedelta(seconds=30),
                retry_policy=_RETRIES,
            )
            self._signalled += signalled
        except ActivityError as error:
            self._failed_pages += 1
            workflow.logger.error("A page could not be promoted: %s", error.cause)
        finally:
            self._places.release()


def _scheduled_time() -> datetime:
    attributes = workflow.info().typed_search_attributes
    return attributes.get(_SCHEDULED_FOR) or workflow.info().workflow_start_time
