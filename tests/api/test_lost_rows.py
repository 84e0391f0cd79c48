"""Writes to an order of which PostgreSQL has lost rows, or Temporal the workflow."""

from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import delete

from api.schemas import NewOrderBody
from database.projection import project
from database.queries import get_record
from database.tables import order_items, order_status_history, orders
from orders import lifecycle
from orders.commands import ChangeStatus
from orders.names import idempotent_command_id, idempotent_order_id
from orders.order import OrderRecord
from orders.status import OrderStatus
from tests.api.asked import counted
from tests.api.conftest import Json, a_body, api_of, history, move, place, put
from tests.builders import a_record
from tests.system import System
from worker import Role


async def take_back(system: System, order: Json, version: int) -> None:
    """Bring PostgreSQL back to an earlier version of an order that has settled, as a failover does."""
    await system.until_settled(order["id"])
    record = await get_record(system.engine, UUID(order["id"]))
    assert record
    async with system.engine.begin() as connection:
        for table, column in (
            (order_status_history, order_status_history.c.order_id),
            (order_items, order_items.c.order_id),
            (orders, orders.c.id),
        ):
            await connection.execute(delete(table).where(column == record.order.id))
    earlier = OrderRecord(order=lifecycle.at(record, version), history=record.history[:version])
    await project(system.engine, earlier)


async def test_what_an_order_allows_is_carried_out_although_postgresql_has_lost_rows(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await move(http, await place(http), "PROCESSING")
    await take_back(system, order, 1)
    counting, asked = counted(system)

    async with api_of(counting) as counted_http:
        shipped = await put(counted_http, order, "SHIPPED")

    assert (shipped.status_code, shipped.json()["version"]) == (200, 3)
    assert asked == {"describe": 1, "signal": 1}
    steps = [step["new_status"] for step in await history(http, order["id"])]
    assert steps == ["PENDING", "PROCESSING", "SHIPPED"]


async def test_an_order_that_is_over_answers_at_once_although_postgresql_has_lost_its_end(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await move(http, await place(http), "PROCESSING", "SHIPPED", "DELIVERED")
    await system.handle(order["id"]).result()
    await take_back(system, order, 2)
    counting, asked = counted(system)

    async with api_of(counting) as counted_http:
        refused = await put(counted_http, order, "DELIVERED")

    assert (refused.status_code, refused.json()["current_status"]) == (409, "DELIVERED")
    assert asked["describe"] <= 3


@pytest.mark.parametrize("params", [{}, {"dry_run": "true"}], ids=str)
async def test_an_order_whose_workflow_was_ended_from_outside_is_not_asked_for(
    lonely: System, params: dict[str, str]
) -> None:
    counting, asked = counted(lonely)
    async with api_of(counting) as lonely_http:
        async with lonely.workers(Role.ORDERS):
            order = await place(lonely_http)
        await lonely.handle(order["id"]).terminate()

        answer = await lonely_http.delete(f"/orders/{order['id']}", params=params)

    assert (answer.status_code, answer.json()["code"]) == (503, "workflow_missing")
    assert asked["query"] == 0


@pytest.mark.parametrize("prefer", ["", "respond-async"])
async def test_a_key_is_known_after_temporal_has_forgotten_the_order(
    system: System, http: httpx2.AsyncClient, prefer: str
) -> None:
    """Projected without a workflow: Temporal takes half a minute to forget one that is over."""
    key, wanted = f"key-{uuid4()}", a_body()
    order_id = idempotent_order_id("api", key)
    placing = NewOrderBody.model_validate(wanted).command(order_id, placed_by="api", request_id="r-1")
    record = a_record(placing=placing)
    cancel = ChangeStatus(
        command_id=idempotent_command_id(order_id, "api", key),
        status=OrderStatus.CANCELLED,
        changed_by="api",
        request_id="r-2",
    )
    change = lifecycle.decide(record, cancel, record.order.updated_at)
    await project(system.engine, lifecycle.apply(record, change))
    headers = {"Idempotency-Key": key, "Prefer": prefer}
    path = f"/orders/{order_id}"

    placed = await http.post("/orders/", json=wanted, headers=headers)
    cancelled = await http.delete(path, headers=headers)
    moved = await http.put(f"{path}/status", json={"status": "CANCELLED"}, headers=headers)
    others = [
        await http.post("/orders/", json=a_body(), headers=headers),
        await http.put(f"{path}/status", json={"status": "PROCESSING"}, headers=headers),
        await http.put(f"{path}/status", json={"status": "CANCELLED", "reason": "x"}, headers=headers),
    ]

    assert (placed.status_code, placed.json()["id"], placed.json()["version"]) == (201, str(order_id), 1)
    assert [(it.status_code, it.json()["version"]) for it in (cancelled, moved)] == [(200, 2)] * 2
    assert cancelled.json() == (await http.get(path)).json() == moved.json()
    assert placed.json() == cancelled.json() | {
        "status": "PENDING",
        "version": 1,
        "allowed_transitions": ["PROCESSING", "CANCELLED"],
    }
    assert {it.headers.get("Idempotent-Replayed") for it in (placed, cancelled, moved)} == {"true"}
    assert [(it.status_code, it.json()["code"]) for it in others] == [(422, "command_id_reused")] * 3
    assert not await system.has_workflow(order_id)
