"""A worker that is killed right after it has projected an order's second version.

Run as `python -m tests.workflows.dying_worker ADDRESS NAMESPACE DATABASE_URL`: the projection is
committed then, and Temporal has not heard of the decision that it shows.
"""

import asyncio
import os
import signal
import sys

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from connection import DATA_CONVERTER
from database import projection
from database.engine import create_engine
from orders.names import ORDERS_QUEUE
from orders.order import OrderRecord
from tests.conftest import settings_for
from workflows.order import OrderWorkflow

DEADLY_VERSION = 2


async def main(address: str, namespace: str, database_url: str) -> None:
    engine = create_engine(settings_for(database_url), application_name="dying-worker")

    @activity.defn
    async def project_order(record: OrderRecord) -> None:
        await projection.project(engine, record)
        if record.order.version == DEADLY_VERSION:
            os.kill(os.getpid(), signal.SIGKILL)

    client = await Client.connect(address, namespace=namespace, data_converter=DATA_CONVERTER)
    worker = Worker(client, task_queue=ORDERS_QUEUE, workflows=[OrderWorkflow], activities=[project_order])
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
