"""An order in the shared system, seen through Temporal."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest
from temporalio.client import WorkflowHandle

from database import queries
from orders.order import Order, OrderRecord
from orders.signals import StatusSignal
from orders.status import OrderStatus
from tests.builders import a_change, a_place_order, an_item
from tests.system import System, a_customer, eventually
from workflows.order import OrderWorkflow
from workflows.state import OrderState


@dataclass(frozen=True)
class AnOrder:
    """One order: what a client does to it, and what the workflow and the projection say of it."""

    system: System
    id: UUID
    customer_id: str

    @property
    def handle(self) -> WorkflowHandle[OrderWorkflow, Order]:
        return self.system.handle(self.id)

    async def change(self, status: OrderStatus, command_id: str | None = None) -> Order:
        """Ask and wait, as the API does."""
        answer = await self.system.dispatcher.change(
            self.id, a_change(status, command_id=command_id), wait=True
        )
        assert answer is not None
        return answer.order

    async def signal(
        self, status: str, command_id: str | None = None, sent_at: datetime | None = None
    ) -> None:
        signal = StatusSignal(status=status, command_id=command_id, changed_by="warehouse", sent_at=sent_at)
        await self.handle.signal(OrderWorkflow.update_status, signal)

    async def state(self) -> OrderState:
        return await self.handle.query(OrderWorkflow.order)

    async def history(self) -> list[OrderStatus]:
        return [change.new_status for change in (await self.state()).record.history]

    async def projected(self) -> OrderRecord | None:
        return await queries.get_record(self.system.engine, self.id)

    async def until_projected(self) -> None:
        """Wait until PostgreSQL has what the workflow knows now."""
        record = (await self.state()).record

        async def is_there() -> bool:
            return await self.projected() == record

        await eventually(is_there)


@pytest.fixture
async def order(system: System) -> AnOrder:
    """A new order that is projected."""
    command = a_place_order(an_item("999.99", 1, "laptop"), customer_id=a_customer())
    assert await system.dispatcher.place(command, wait=True) is not None
    return AnOrder(system=system, id=command.order_id, customer_id=command.customer_id)
