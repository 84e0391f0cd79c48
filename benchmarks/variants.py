"""Our programs with one thing otherwise: `python -m benchmarks.variants NAME worker --serve orders`.

Each variant patches what the program is about to use, and becomes the program.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import temporalio.workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import PollerBehaviorAutoscaling, PollerBehaviorSimpleMaximum, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import process
import workflows.order
from api.pace import Pace


def _worker_with(**options: object) -> None:
    really = Worker.__init__

    def init(self: Worker, *arguments: Any, **given: Any) -> None:  # noqa: ANN401 - whatever it takes
        really(self, *arguments, **(given | options))

    Worker.__init__ = init  # type: ignore[method-assign]


def compressed() -> None:
    """Every message to or from Temporal is compressed, as the SDK does by default."""
    really = Client.connect

    async def connect(*arguments: Any, **given: Any) -> Client:  # noqa: ANN401 - whatever it takes
        return await really(*arguments, **(given | {"grpc_compression": GrpcCompression.GZIP}))

    Client.connect = connect  # type: ignore[method-assign]


def sandboxed() -> None:
    """Workflows run in the SDK's sandbox."""
    _worker_with(workflow_runner=SandboxedWorkflowRunner())


def sandboxed_with_our_modules_passed_through() -> None:
    """Workflows run in the SDK's sandbox, which imports none of our modules anew."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        "activities", "connection", "database", "orders", "settings", "workflows"
    )
    _worker_with(workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions))


def regular_activities() -> None:
    """A projection is an activity of the queue and not a local one."""

    def execute(method: Any, record: Any, **_: object) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        return temporalio.workflow.execute_activity_method(
            method, record, start_to_close_timeout=timedelta(seconds=15)
        )

    vars(temporalio.workflow)["execute_local_activity_method"] = execute


def regular_activities_not_eager() -> None:
    """The same, and handed out by the queue instead of with the answer to the workflow task."""
    regular_activities()
    _worker_with(disable_eager_activity_execution=True)


def no_search_attributes() -> None:
    """An order's status is not written to Temporal's visibility as it changes."""
    vars(temporalio.workflow)["upsert_search_attributes"] = lambda _: None


def no_details() -> None:
    """The Web UI is told nothing of an order."""
    vars(workflows.order)["describe"] = lambda _: ""


def two_pollers() -> None:
    """The fewest pollers that there can be."""
    fewest = PollerBehaviorSimpleMaximum(2)
    _worker_with(workflow_task_poller_behavior=fewest, activity_task_poller_behavior=fewest)


def scaled_pollers() -> None:
    """As many pollers as the server advises."""
    _worker_with(
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
    )


def ten_slots() -> None:
    """Ten workflow tasks and ten local activities at a time."""
    _worker_with(max_concurrent_workflow_tasks=10, max_concurrent_local_activities=10)


def four_cached_workflows() -> None:
    """Hardly any order is in the worker's cache: each command fetches a history and replays it."""
    _worker_with(max_cached_workflows=4)


def plain_loop() -> None:
    """The standard library's event loop."""
    vars(process)["_new_event_loop"] = asyncio.new_event_loop


def looks_at_fixed_times() -> None:
    """A write looks for its outcome after 4 ms, and then ever later, however long others have taken."""

    def pauses(_: Pace) -> Iterator[float]:
        pause = 0.004
        while True:
            yield min(pause, 0.25)
            pause *= 1.25

    Pace.pauses = pauses  # type: ignore[assignment, method-assign]


def shipped() -> None:
    """Nothing else than shipped."""


VARIANTS: dict[str, Callable[[], None]] = {
    it.__name__: it
    for it in (
        shipped,
        compressed,
        sandboxed,
        sandboxed_with_our_modules_passed_through,
        regular_activities,
        regular_activities_not_eager,
        no_search_attributes,
        no_details,
        two_pollers,
        scaled_pollers,
        ten_slots,
        four_cached_workflows,
        plain_loop,
        looks_at_fixed_times,
    )
}


def main() -> None:
    """Change it, and become the program."""
    VARIANTS[sys.argv[1]]()
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
