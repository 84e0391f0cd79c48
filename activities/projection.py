"""Bringing an order to PostgreSQL."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from database import projection
from database.engine import DatabaseUnavailable
from orders.order import OrderRecord


@dataclass(frozen=True)
class ProjectionActivities:
    """Activities of the orders queue."""

    engine: AsyncEngine

    @activity.defn
    async def project_order(self, record: OrderRecord) -> None:
        """Write the record to PostgreSQL; safe to repeat, and in any order.

        Raises:
            ApplicationError: what the database says, in one line: Temporal shows it and tries again. With
                its causes and their stacks it would be larger than the failure that Temporal keeps.
        """
        try:
            await projection.project(self.engine, record)
        except (DatabaseUnavailable, DBAPIError) as error:
            reason = str(error).partition("\n")[0]
            raise ApplicationError(reason, type=type(error).__name__) from None
        latest = record.history[-1]
        activity.logger.info(
            "Projected version %d: %s",
            latest.version,
            latest.new_status,
            extra={"request_id": latest.request_id},
        )
