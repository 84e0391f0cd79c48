"""A system of its own, with orders to do harm to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack
from uuid import UUID

import pytest
from sqlalchemy import delete, text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from database import queries
from database.projection import project
from database.tables import order_items, order_status_history, orders
from doctor.examination import Doctor, Examination
from doctor.findings import Finding, Kind
from orders.names import STATUS_ATTRIBUTE
from orders.order import OrderRecord
from orders.signals import StatusSignal
from orders.status import OrderStatus
from tests.builders import a_place_order
from tests.conftest import Systems
from tests.system import System, a_customer, eventually
from workflows.order import OrderWorkflow

# Long enough that an order on its way is there at the next look, short enough to wait for often.
SHORT_PAUSES = (0.2, 0.5, 1.0)
# For those that must be found well in the end: the doctor does not wait longer than it must.
LONG_PAUSES = (*SHORT_PAUSES, 5.0, 10.0)

_TABLES = (
    (order_items, order_items.c.order_id),
    (order_status_history, order_status_history.c.order_id),
    (orders, orders.c.id),
)


class Nobody:
    """Who does not care how far an examination is."""

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, orders: int) -> None: ...


class How(TypedDict, total=False):
    deep: bool
    repair: bool
    patience: float
    pauses: tuple[float, ...]


@dataclass(frozen=True)
class Ward:
    """A system, its doctor, and ways to put orders there and to do harm to them."""

    system: System
    ids: list[UUID] = field(default_factory=list)

    def doctor(
        self,
        *,
        deep: bool = False,
        repair: bool = False,
        patience: float = 10,
        pauses: tuple[float, ...] = SHORT_PAUSES,
    ) -> Doctor:
        return Doctor(
            engine=self.system.engine,
            client=self.system.client,
            deep=deep,
            repair=repair,
            page_size=3,
            pauses=pauses,
            patience=patience,
        )

    async def examine(self, **how: Unpack[How]) -> Examination:
        """What the doctor finds, of the orders of this test: a finished workflow outlives its test."""
        examination = await self.doctor(**how).examine(Nobody())
        own = tuple(finding for finding in examination.findings if finding.order_id in self.ids)
        return replace(examination, findings=own)

    async def kinds(self, **how: Unpack[How]) -> dict[UUID, list[Kind]]:
        """What is wrong, by order."""
        found: dict[UUID, list[Kind]] = {}
        for finding in (await self.examine(**how)).left:
            found.setdefault(finding.order_id, []).append(finding.kind)
        return found

    async def mend(self, order_id: UUID) -> Finding:
        """What a repair makes of an order, whatever is wrong with it."""
        finding = Finding(order_id=order_id, kind=Kind.DIFFERENT, detail="", todo="")
        return await self.doctor().mend(finding)

    async def place(self, *moves: OrderStatus) -> UUID:
        """An order that was placed and moved, and is projected."""
        command = a_place_order(customer_id=a_customer())
        self.ids.append(command.order_id)
        await self.system.dispatcher.place(command, wait=True)
        for status in moves:
            signal = StatusSignal(status=status, changed_by="warehouse")
            await self.system.handle(command.order_id).signal(OrderWorkflow.update_status, signal)
        expected = (OrderStatus.PENDING, *moves)

        async def is_there() -> bool:
            stored = await self.stored(command.order_id)
            return stored is not None and tuple(it.new_status for it in stored.history) == expected

        # Not a query: in a crowd of them one may wait for as long as a test.
        await eventually(is_there)
        return command.order_id

    async def truth(self, order_id: UUID) -> OrderRecord:
        return (await self.system.handle(order_id).query(OrderWorkflow.order)).record

    async def stored(self, order_id: UUID) -> OrderRecord | None:
        return await queries.get_record(self.system.engine, order_id)

    async def until_projected(self, order_id: UUID) -> None:
        truth = await self.truth(order_id)

        async def is_there() -> bool:
            return await self.stored(order_id) == truth

        await eventually(is_there)

    async def until_listed(self, order_id: UUID) -> None:
        """Wait until Temporal's list shows the order's status, too."""
        status = (await self.truth(order_id)).order.status
        query = f"WorkflowId = '{self.system.handle(order_id).id}' AND {STATUS_ATTRIBUTE} = '{status}'"

        async def is_there() -> bool:
            return (await self.system.client.count_workflows(query)).count == 1

        await eventually(is_there)

    async def store(self, record: OrderRecord) -> UUID:
        """An order that only PostgreSQL has."""
        self.ids.append(record.order.id)
        await project(self.system.engine, record)
        return record.order.id

    async def lose_workflow(self, order_id: UUID) -> None:
        """Have Temporal forget an order that is running."""
        handle = self.system.handle(order_id)
        await self.system.client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=self.system.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=handle.id),
            )
        )

        async def is_gone() -> bool:
            query = f"WorkflowId = '{handle.id}'"
            return (await self.system.client.count_workflows(query)).count == 0

        await eventually(is_gone)

    async def clear(self, order_id: UUID) -> None:
        """Leave nothing of the order that a later test would have to look at."""
        handle = self.system.handle(order_id)
        runs = [it async for it in self.system.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        if [run.status for run in runs] == [WorkflowExecutionStatus.RUNNING]:
            await self.lose_workflow(order_id)
            runs = []
        if not runs:
            async with self.system.engine.connect() as connection:
                for table, key in _TABLES:
                    await connection.execute(delete(table).where(key == order_id))

    async def harm(self, order_id: UUID, *statements: str, **parameters: UUID) -> None:
        """Run statements in one transaction; `:id` in them is the order."""
        async with self.system.engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                for statement in statements:
                    changed = await connection.execute(text(statement), {"id": order_id, **parameters})
                    assert changed.rowcount, f"changed nothing: {statement}"


@pytest.fixture(scope="session")
async def ward_system(systems: Systems) -> AsyncIterator[System]:
    async with systems("doctor") as system, system.workers():
        yield system


@pytest.fixture
async def ward(ward_system: System) -> AsyncIterator[Ward]:
    """The same system for every test, which finds only its own orders there."""
    async with tidy(ward_system) as ward:
        yield ward


@asynccontextmanager
async def tidy(system: System) -> AsyncIterator[Ward]:
    """A ward that leaves no order behind."""
    ward = Ward(system)
    yield ward
    for order_id in ward.ids:
        await ward.clear(order_id)
