"""Bringing an order to PostgreSQL."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from database import projection
from orders.order import OrderRecord


@dataclass(frozen=True)
class ProjectionActivities:
    """Activities of the orders queue."""

    engine: AsyncEngine

    @activity.defn
    async def project_order(self, record: OrderRecord) -> None:
        """Write the record to PostgreSQL; safe to repeat, and in any order.

        Raises whatever the database raises: Temporal keeps the last failure and tries again.
        """
        await projection.project(self.engine, record)
