"""Waiting until a healed system has finished all that it has accepted."""

import asyncio
import time
from dataclasses import dataclass

import asyncpg
from temporalio.client import Client, WorkflowExecutionStatus

PATIENCE_SECONDS = 130.0
_AT_ONCE = 8
_SCHEDULE = "order-promotion"
_ORDER = "OrderWorkflow"


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How long it took, in seconds since the healing, and what never came to rest (empty if all did)."""

    orders_seconds: float
    promotion_seconds: float
    restless: list[str]


async def until_quiet(client: Client, database_url: str, healed: float) -> Quiet:
    """Wait until no order has anything to do, all are promoted, and no sweep is under way.

    `healed` is the time of the healing, by the monotonic clock. After `PATIENCE_SECONDS` the waiting ends.
    """
    orders_seconds = promotion_seconds = float("inf")
    while time.monotonic() < healed + PATIENCE_SECONDS:
        restless = await _restless(client)
        if not restless:
            orders_seconds = min(orders_seconds, time.monotonic() - healed)
            # The next sweep may find some that became PENDING for all to see only now.
            if not await _pending(client, database_url):
                await client.get_schedule_handle(_SCHEDULE).pause()
                if not await _running(client, "PromotionWorkflow"):
                    promotion_seconds = time.monotonic() - healed
                    restless = await _restless(client)
                    if not restless:
                        break
                await client.get_schedule_handle(_SCHEDULE).unpause()
        await asyncio.sleep(0.5)
    return Quiet(
        orders_seconds=orders_seconds,
        promotion_seconds=promotion_seconds,
        restless=await _restless(client),
    )


async def _running(client: Client, kind: str) -> list[str]:
    query = f"WorkflowType = '{kind}' AND ExecutionStatus = 'Running'"
    return [execution.id async for execution in client.list_workflows(query)]


async def _restless(client: Client) -> list[str]:
    """The orders that have a task or an activity before them, and which."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def look(workflow: str) -> str:
        async with places:
            described = await client.get_workflow_handle(workflow).describe()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return ""
        raw = described.raw_description
        activities = [
            f"activity attempt {it.attempt}: {it.last_failure.message}" for it in raw.pending_activities
        ]
        tasks = [f"workflow task attempt {raw.pending_workflow_task.attempt}"]
        found = activities + (tasks if raw.HasField("pending_workflow_task") else [])
        return f"{workflow}: {', '.join(found)}" if found else ""

    looks = await asyncio.gather(*(look(workflow) for workflow in await _running(client, _ORDER)))
    return [found for found in looks if found]


async def _pending(client: Client, database_url: str) -> set[str]:
    """The open orders that PostgreSQL shows as PENDING; one that is over is never promoted any more."""
    connection = await asyncpg.connect(database_url, ssl=False)
    try:
        rows = await connection.fetch("SELECT id::text AS id FROM orders WHERE status = 'PENDING'")
    finally:
        await connection.close()
    pending = {f"order-{row['id']}" for row in rows}
    return pending & set(await _running(client, _ORDER)) if pending else pending
