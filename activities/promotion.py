"""Finding PENDING orders and telling them to go on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.failures import database_failures_in_one_line
from database import queries
from orders.names import UPDATE_STATUS_SIGNAL, promotion_command_id, workflow_id
from orders.order import OrderKey
from orders.signals import StatusSignal
from orders.status import OrderStatus

PROMOTED_BY = "promotion"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FindPage:
    """Ask for the next page of PENDING orders, oldest first, that were placed before a time."""

    placed_before: datetime
    after: OrderKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stretch of the list of orders: what lies after one key, up to and including another."""

    placed_before: datetime
    after: OrderKey | None
    until: OrderKey


@dataclass(frozen=True)
class PromotionActivities:
    """Activities of the promotion queue."""

    engine: AsyncEngine
    client: Client
    page_size: int
    concurrency: int
    patience: float = 2.0
    """Seconds that a batch is waited for at most."""

    @activity.defn
    async def find_page(self, request: FindPage) -> Page | None:
        """The next page, or None at the end of the list."""
        with database_failures_in_one_line():
            keys = await queries.list_pending_keys(
                self.engine, placed_before=request.placed_before, after=request.after, limit=self.page_size
            )
        if not keys:
            return None
        return Page(placed_before=request.placed_before, after=request.after, until=keys[-1])

    @activity.defn
    async def promote_page(self, page: Page) -> int:
        """Signal every order of the page that is still PENDING; the number of orders signalled.

        The page is read anew, so that a retry meets only what is left of it, and goes on after the
        last order that a heartbeat has recorded. It signals as fast as orders move, so that whoever
        places or changes an order meanwhile does not wait behind a whole sweep.
        """
        position = _recorded_position() or _Position(after=page.after, signalled=0)
        with database_failures_in_one_line():
            keys = await queries.list_pending_keys(
                self.engine, placed_before=page.placed_before, after=position.after, until=page.until
            )
        signalled = position.signalled
        for start in range(0, len(keys), self.concurrency):
            batch = keys[start : start + self.concurrency]
            signalled += sum(await asyncio.gather(*(self._promote(key) for key in batch)))
            activity.heartbeat(batch[-1].created_at.isoformat(), str(batch[-1].order_id), signalled)
            await self._until_half_have_moved(batch)
        return signalled

    async def _until_half_have_moved(self, batch: Sequence[OrderKey]) -> None:
        """Wait until PostgreSQL has half of the batch as promoted; for a while, because some may never be."""
        ids = [key.order_id for key in batch]
        most = asyncio.get_running_loop().time() + self.patience
        with database_failures_in_one_line():
            while 2 * await queries.count_pending(self.engine, ids) > len(ids):
                if asyncio.get_running_loop().time() > most:
                    return
                await asyncio.sleep(_LOOK_SECONDS)

    async def _promote(self, key: OrderKey) -> bool:
        """Signal one order; False when it cannot be signalled, which is no reason to stop at it.

        Raises:
            RPCError: Temporal cannot be reached, so no order can be signalled now.
        """
        handle = self.client.get_workflow_handle(workflow_id(key.order_id))
        try:
            await handle.signal(
                UPDATE_STATUS_SIGNAL,
                StatusSignal(
                    status=OrderStatus.PROCESSING,
                    command_id=promotion_command_id(key.order_id),
                    changed_by=PROMOTED_BY,
                    sent_at=datetime.now(UTC),
                ),
            )
        except RPCError as error:
            if error.status in _OUTAGES:
                raise
            activity.logger.error("Order %s cannot be promoted: %s", key.order_id, error.message)
            return False
        return True


_OUTAGES = {
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    after: OrderKey | None
    signalled: int


def _recorded_position() -> _Position | None:
    """Where an earlier attempt of this activity had got to."""
    details = activity.info().heartbeat_details
    if not details:
        return None
    created_at, order_id, signalled = details
    after = OrderKey(created_at=datetime.fromisoformat(created_at), order_id=UUID(order_id))
    return _Position(after=after, signalled=signalled)
