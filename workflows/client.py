"""How the API and the doctor reach the workflows that own the orders.

Temporal's silence is bounded, and its errors are told apart.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowNotReadyFailure
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from orders.names import ORDERS_QUEUE, workflow_id
from orders.order import Order
from workflows.attributes import attributes_of
from workflows.order import OrderWorkflow
from workflows.state import OrderInput, OrderState


class TemporalUnavailable(Exception):  # noqa: N818 - the name is the fact
    """Temporal did not take a call, so nothing was promised."""


class NoWorkflow(Exception):  # noqa: N818 - the name is the fact
    """There is no such workflow, or it has ended."""


class Silent(Exception):  # noqa: N818 - the name is the fact
    """A workflow does not show its order. The message is one line and says why.

    `is_its_own` says that the reason is the workflow's, and not that of a worker that is away.
    """

    def __init__(self, reason: str, *, is_its_own: bool) -> None:
        super().__init__(" ".join(reason.split()))
        self.is_its_own = is_its_own


# A mistake of ours or of the deployment: asking again later would not help.
_NEVER_HEALS = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,
}

# What Temporal says, as an invalid argument, of a run that has had all the signals that a run may have. The
# order takes more once it has continued as a new run, which it does when PostgreSQL is back.
_NO_MORE_SIGNALS = "exceeded workflow execution limit for signal events"


def order_workflow(client: Client, order_id: UUID) -> WorkflowHandle[OrderWorkflow, Order]:
    """The workflow that owns an order, whether there is one or not."""
    return client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(order_id))


async def start_order(client: Client, start: OrderInput, summary: str) -> None:
    """Start the workflow that is to own an order, new or carried on; once this returns it is durable.

    Raises:
        WorkflowAlreadyStartedError: the order has one, or had one that Temporal still remembers.
    """
    order = start.state(datetime.now(UTC)).record.order
    await client.start_workflow(
        OrderWorkflow.run,
        start,
        id=workflow_id(order.id),
        task_queue=ORDERS_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=attributes_of(order.customer_id, order.status),
        static_summary=summary,
    )


async def query_order(client: Client, order_id: UUID, patience: float) -> OrderState:
    """What the order's workflow says of it now; a worker must be there to answer, within `patience` seconds.

    Raises:
        Silent: none does, or the workflow is broken, or gone.
        TemporalUnavailable: Temporal did not take the question.
    """
    try:
        # Not `rpc_timeout`: the client retries, and that bounds each attempt only.
        async with asyncio.timeout(patience):
            return await order_workflow(client, order_id).query(OrderWorkflow.order)
    except TimeoutError:
        raise Silent(f"no answer within {patience:g} s", is_its_own=False) from None
    except WorkflowQueryFailedError as failure:
        raise Silent(str(failure), is_its_own=True) from None
    except RPCError as error:
        if error.status in _SILENCES:
            raise Silent(error.message, is_its_own=_is_about_the_workflow(error)) from None
        raise TemporalUnavailable(f"Temporal: {error.status.name}: {error.message}") from error


# The workflow is gone, no worker has its queue, or its tasks fail.
_SILENCES = {
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.DEADLINE_EXCEEDED,
}


def _is_about_the_workflow(error: RPCError) -> bool:
    details = error.grpc_status.details
    return error.status is RPCStatusCode.NOT_FOUND or (
        bool(details) and details[0].Is(WorkflowNotReadyFailure.DESCRIPTOR)
    )


@asynccontextmanager
async def asking_temporal(patience: float) -> AsyncIterator[None]:
    """Tell apart that there is no such workflow, and that Temporal says nothing for `patience` seconds.

    Raises:
        NoWorkflow: there is none, or it has ended.
        TemporalUnavailable: Temporal could not be reached, or could not do it now.
    """
    try:
        # Not `rpc_timeout`: the client retries, and that bounds each attempt only.
        async with asyncio.timeout(patience):
            yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not _is_about_the_namespace(error):
            raise NoWorkflow from error
        if error.status in _NEVER_HEALS and _NO_MORE_SIGNALS not in error.message:
            raise
        raise TemporalUnavailable(f"Temporal: {error.status.name}: {error.message}") from error
    except TimeoutError as error:
        raise TemporalUnavailable(f"Temporal did not answer within {patience:g} s") from error
    except RuntimeError as error:
        # A client that connects at its first call raises this where it cannot.
        raise TemporalUnavailable(f"Temporal: {_last_line(error)}") from error


def _is_about_the_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return bool(details) and details[0].Is(NamespaceNotFoundFailure.DESCRIPTOR)


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
