"""The system on real servers, as the tests put it together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import httpx2
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from api.app import create_app
from api.dispatch import Dispatcher
from connection import DATA_CONVERTER
from doctor.checkup import CheckupWorkflow
from orders.names import workflow_id
from orders.order import Order
from settings import Settings
from worker import Role, build_workers
from workflows.order import OrderWorkflow
from workflows.promotion import PromotionWorkflow

# An import that is not passed through is made anew for each workflow, and asyncpg crashes the worker then.
STRICT_SANDBOX = SandboxedWorkflowRunner(
    restrictions=replace(
        SandboxRestrictions.default,
        import_notification_policy=SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH,
    )
)


@dataclass(frozen=True)
class System:
    """One namespace of the Temporal server, and one database of the PostgreSQL server."""

    settings: Settings
    engine: AsyncEngine
    client: Client

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher.of(self.settings, self.client, self.engine)

    def dispatcher_that_waits(self, seconds: float) -> Dispatcher:
        """The same way, with another patience."""
        settings = self.settings.model_copy(update={"answer_deadline": seconds})
        return Dispatcher.of(settings, self.client, self.engine)

    def handle(self, order_id: UUID | str) -> WorkflowHandle[OrderWorkflow, Order]:
        return self.client.get_workflow_handle_for(OrderWorkflow.run, workflow_id(UUID(str(order_id))))

    async def has_workflow(self, order_id: UUID | str) -> bool:
        """Whether Temporal knows a workflow of the order, running or ended."""
        try:
            await self.handle(order_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def until_settled(self, order_id: UUID | str) -> None:
        """Wait until Temporal has recorded all that the order's workflow has done."""

        async def is_settled() -> bool:
            return bool(await self.dispatcher.reader.settled_status(UUID(str(order_id))))

        await eventually(is_settled)

    @asynccontextmanager
    async def workers(self, role: Role = Role.ALL) -> AsyncIterator[list[Worker]]:
        """Workers that run until the block ends."""
        async with AsyncExitStack() as running:
            workers = build_workers(
                self.client, self.engine, self.settings, role, workflow_runner=STRICT_SANDBOX
            )
            for worker in workers:
                await running.enter_async_context(worker)
            yield workers

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of the API, which runs in this process."""
        app = create_app(self.settings, self.client, self.engine)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            yield client

    async def replay_everything(self) -> int:
        """Replay every history of the namespace; the number of them. Raises at the first that breaks."""
        replayer = a_replayer()
        replayed = 0
        async for execution in self.client.list_workflows():
            if execution.workflow_type not in {"OrderWorkflow", "PromotionWorkflow", "CheckupWorkflow"}:
                continue  # the server's own scheduler
            handle = self.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            await replayer.replay_workflow(await handle.fetch_history())
            replayed += 1
        return replayed


def a_replayer() -> Replayer:
    """A replayer of our workflows, as strict as the workers of the tests."""
    return Replayer(
        workflows=[OrderWorkflow, PromotionWorkflow, CheckupWorkflow],
        data_converter=DATA_CONVERTER,
        workflow_runner=STRICT_SANDBOX,
    )


def a_customer() -> str:
    """A customer that no other test knows."""
    return f"customer-{uuid4()}"


PATIENCE_SECONDS = 30


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; fail when it does not within a bounded time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - servers set no events of ours
            await asyncio.sleep(0.02)
