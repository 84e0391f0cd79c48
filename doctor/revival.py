"""Giving an order that only PostgreSQL still has a workflow again."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError

from database import audit, queries
from doctor.findings import find_flaw
from workflows.client import start_order
from workflows.state import OrderInput, OrderState


class CannotRevive(Exception):  # noqa: N818 - the name is the fact
    """The order needs no workflow, or has one, or its rows do not say how it is. The message is one line."""


async def revive(engine: AsyncEngine, client: Client, order_id: UUID) -> str:
    """Start a workflow that goes on from what PostgreSQL has of the order; its status.

    A person asks for this, order by order: Temporal may have been told to forget the order, and what
    happened to it after its last projection is lost.

    Raises:
        CannotRevive: it is not for this order.
        DatabaseUnavailable: PostgreSQL is away.
        RPCError: Temporal does not take it.
    """
    stored = (await audit.read_rows(engine, [order_id])).get(order_id)
    if stored is None:
        raise CannotRevive(f"PostgreSQL has no order {order_id}")
    if flaw := find_flaw(stored):
        raise CannotRevive(f"Order {order_id} does not hold together in PostgreSQL: {flaw}")
    record = await queries.get_record(engine, order_id)
    if record is None or record.order.status.is_terminal:
        raise CannotRevive(f"Order {order_id} is over: it needs no workflow")
    order = record.order
    try:
        # A workflow that has ended is still known, and can be reset to all that it knew: it refuses this.
        carried = OrderState(record=record, projected_version=order.version)
        await start_order(
            client, OrderInput(carried=carried), f"Revived from PostgreSQL at version {order.version}"
        )
    except WorkflowAlreadyStartedError:
        raise CannotRevive(f"Order {order_id} has a workflow; `orders doctor` says how it is") from None
    return order.status
