"""Bringing an order to PostgreSQL."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from activities.failures import database_failures_in_one_line
from database import projection
from orders.order import OrderRecord


@dataclass(frozen=True)
class ProjectionActivities:
    """Activities of the orders queue."""

    engine: AsyncEngine

    @activity.defn
    async def project_order(self, record: OrderRecord) -> None:
        """Write the record to PostgreSQL; safe to repeat, and in any order.

        Raises:
            ApplicationError: what the database says, in one line; Temporal shows it and tries again.
        """
        with database_failures_in_one_line():
            await projection.project(self.engine, record)
        latest = record.history[-1]
        activity.logger.info(
            "Projected version %d: %s",
            latest.version,
            latest.new_status,
            extra={"request_id": latest.request_id},
        )
