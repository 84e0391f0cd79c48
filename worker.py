"""The worker process: `python -m worker --serve orders`, `--serve promotion`, or both.

Any number run side by side; Temporal shares the work out among those that serve a queue.
"""

import argparse
import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from enum import StrEnum
from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkflowRunner

import process
from activities.projection import ProjectionActivities
from activities.promotion import PromotionActivities
from connection import connect
from database.engine import create_engine
from doctor.activities import DoctorActivities
from doctor.checkup import CheckupWorkflow
from logs import configure_logs
from orders.names import ORDERS_QUEUE, PROMOTION_QUEUE
from settings import Settings, load_settings
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow

logger = logging.getLogger("worker")


class Role(StrEnum):
    """Which queues a process serves."""

    ORDERS = "orders"
    PROMOTION = "promotion"
    ALL = "all"


def build_workers(
    client: Client,
    engine: AsyncEngine,
    settings: Settings,
    role: Role,
    *,
    workflow_runner: WorkflowRunner | None = None,
) -> list[Worker]:
    """One worker for each queue that the role serves; the caller runs them.

    Without another runner, workflows run outside the SDK's sandbox; the tests, and what replays recorded
    histories, run the same workflows inside (docs/decisions/0010).
    """
    options = worker_options(settings)
    if workflow_runner:
        options["workflow_runner"] = workflow_runner
    workers = []
    if role in {Role.ORDERS, Role.ALL}:
        orders = Worker(
            client,
            task_queue=ORDERS_QUEUE,
            workflows=[OrderWorkflow],
            activities=[ProjectionActivities(engine).project_order],
            **options,
        )
        workers.append(orders)
    if role in {Role.PROMOTION, Role.ALL}:
        promotion = PromotionActivities(
            engine=engine,
            client=client,
            page_size=settings.promotion_page_size,
            concurrency=settings.promotion_concurrency,
        )
        workers.append(
            Worker(
                client,
                task_queue=PROMOTION_QUEUE,
                workflows=[PromotionWorkflow, CheckupWorkflow],
                activities=[
                    promotion.find_page,
                    promotion.promote_page,
                    DoctorActivities(engine, client).examine_orders,
                ],
                **options,
            )
        )
    return workers


class WorkerOptions(TypedDict):
    """What every worker of ours is given."""

    workflow_runner: WorkflowRunner
    max_cached_workflows: int
    graceful_shutdown_timeout: timedelta
    deployment_config: WorkerDeploymentConfig | None


def worker_options(settings: Settings) -> WorkerOptions:
    """The options of a worker as the settings say."""
    return {
        "workflow_runner": UnsandboxedWorkflowRunner(),
        "max_cached_workflows": settings.worker_cached_workflows,
        "graceful_shutdown_timeout": timedelta(seconds=settings.worker_shutdown_grace),
        "deployment_config": _deployment(settings),
    }


def _deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """The version that the workers are, where the settings name one.

    Whatever runs moves on to the version that is current (docs/decisions/0007).
    """
    if settings.worker_deployment is None or settings.worker_build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.worker_deployment, settings.worker_build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


def _as_version(settings: Settings) -> str:
    if settings.worker_deployment is None:
        return ""
    return f" as {settings.worker_deployment} {settings.worker_build_id}, once that version is current"


async def serve(settings: Settings, role: Role) -> None:
    """Serve the role's queues until SIGTERM or Ctrl-C, then finish what is in hand."""
    engine = create_engine(settings, application_name=f"worker-{role}")
    try:
        client = await connect(metrics_address=settings.metrics_address)
        stop = process.stop_requested()
        async with AsyncExitStack() as running:
            workers = build_workers(client, engine, settings, role)
            for worker in workers:
                await running.enter_async_context(worker)
            logger.info("Serving %s%s", role, _as_version(settings))
            await stop.wait()
            logger.info("Finishing what is in hand")
            await asyncio.gather(*(worker.shutdown() for worker in workers))
    finally:
        await engine.dispose()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and the environment, and serve."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--serve", type=Role, choices=list(Role), default=Role.ALL, metavar="|".join(Role))
    role = parser.parse_args(arguments).serve

    async def start() -> None:
        settings = load_settings()
        configure_logs(settings, process="worker")
        await serve(settings, role)

    process.run("worker", start)


if __name__ == "__main__":
    main()
