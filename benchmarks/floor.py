"""The floor of writes: a workflow that hears what an order hears, and does nothing.

    python -m benchmarks.floor

It starts from the same input, under the same search attributes, on a worker configured as the product's, and
completes after three changes of status. It decides nothing, shows nothing and touches no database.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    import argparse
    import sys
    from collections.abc import Sequence
    from dataclasses import dataclass
    from datetime import UTC, datetime
    from typing import Any
    from uuid import uuid4

    from temporalio.client import Client, WithStartWorkflowOperation
    from temporalio.common import (
        WorkflowIDConflictPolicy,
        WorkflowIDReusePolicy,
    )
    from temporalio.worker import Worker
    from uuid_utils.compat import uuid7

    import process
    from api.schemas import LAPTOP_AND_MICE, NewOrderBody
    from connection import connect
    from logs import configure_logs
    from orders.signals import StatusSignal
    from orders.status import OrderStatus
    from settings import Settings, load_settings
    from worker import worker_options
    from workflows.attributes import attributes_of
    from workflows.state import OrderInput

QUEUE = "floor"
CHANGES = (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)

_CALLER = "api"


@workflow.defn
class FloorWorkflow:
    """Nothing but messages: as many as an order gets on its way to DELIVERED."""

    def __init__(self) -> None:
        self._changes = 0

    @workflow.run
    async def run(self, _: OrderInput) -> None:
        """Live until every message has come."""
        await workflow.wait_condition(lambda: self._changes == len(CHANGES))

    @workflow.update
    def placed(self) -> None:
        """Answer that the start has been handled."""

    @workflow.update
    def change_status(self, _: StatusSignal) -> None:
        """Count a message, and answer that it has been handled."""
        self._changes += 1

    @workflow.signal
    def update_status(self, _: StatusSignal) -> None:
        """Count a message."""
        self._changes += 1


@dataclass(frozen=True)
class Floor:
    """What the floor can do, through a client of the namespace that its worker serves.

    Every call waits until a worker has handled what was sent, for as long as that takes.
    """

    client: Client

    async def create(self) -> str:
        """Start a workflow; its id."""
        order, options = _an_order()
        await self.client.execute_update_with_start_workflow(
            FloorWorkflow.placed,
            start_workflow_operation=WithStartWorkflowOperation(FloorWorkflow.run, order, **options),
        )
        return str(options["id"])

    async def change(self, workflow_id: str, status: OrderStatus) -> None:
        """Send a workflow a change of status."""
        handle = self.client.get_workflow_handle(workflow_id)
        await handle.execute_update(FloorWorkflow.change_status, _a_change(status))

    async def lifecycle(self) -> None:
        """Live through a workflow, waiting for each of its four messages: the last one completes it."""
        workflow_id = await self.create()
        for status in CHANGES:
            await self.change(workflow_id, status)

    async def signalled_lifecycle(self) -> None:
        """Live through a workflow by signals, which are durable before they are handled, and its result."""
        order, options = _an_order()
        handle = await self.client.start_workflow(FloorWorkflow.run, order, **options)
        for status in CHANGES:
            await handle.signal(FloorWorkflow.update_status, _a_change(status))
        await handle.result()


def _an_order() -> tuple[OrderInput, dict[str, Any]]:
    """An order, and how the API would start its workflow (see `workflows.client.start_order`)."""
    body = NewOrderBody.model_validate(LAPTOP_AND_MICE)
    place = body.command(uuid7(), placed_by=_CALLER, request_id=str(uuid4()))
    options = {
        "id": f"floor-{place.order_id}",
        "task_queue": QUEUE,
        "id_conflict_policy": WorkflowIDConflictPolicy.FAIL,
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
        "search_attributes": attributes_of(place.customer_id, OrderStatus.PENDING),
    }
    return OrderInput(place=place), options


def _a_change(status: OrderStatus) -> StatusSignal:
    """A change as the API would send it."""
    return StatusSignal(
        status=status,
        command_id=str(uuid4()),
        changed_by=_CALLER,
        request_id=str(uuid4()),
        sent_at=datetime.now(UTC),
    )


def build_worker(client: Client, settings: Settings) -> Worker:
    """A worker with the options that the product's has, whatever they are; the caller runs it."""
    return Worker(client, task_queue=QUEUE, workflows=[FloorWorkflow], **worker_options(settings))


async def serve() -> None:
    """Serve the floor's queue until SIGTERM or Ctrl-C."""
    settings = load_settings()
    configure_logs(settings, process="floor")
    client = await connect()
    stop = process.stop_requested()
    async with build_worker(client, settings):
        sys.stdout.write(f"Serving {QUEUE}\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the environment, and serve."""
    argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__).parse_args(arguments)
    process.run("floor", serve)


if __name__ == "__main__":
    main()
