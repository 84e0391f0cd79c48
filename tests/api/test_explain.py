"""What an order waits for, in each state that it can be in, and that its surroundings can be in."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import delete
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError
from temporalio.worker import Worker

from database.projection import project
from database.queries import get_order
from database.tables import order_items, order_status_history, orders
from orders.names import ORDERS_QUEUE
from orders.status import OrderStatus
from tests.api.callers import set_to
from tests.api.conftest import SHORT_DEADLINE, Json, a_body, api_of, impatient, move, place
from tests.api.outages import with_a_line_to_postgresql, without_temporal
from tests.builders import a_record
from tests.system import System, eventually
from worker import Role


async def explained(http: httpx2.AsyncClient, order_id: str) -> Json:
    answer = await http.get(f"/orders/{order_id}/explain")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert found["order_id"] == order_id
    return found


async def forget(system: System, order_id: str) -> None:
    """Have Temporal forget an order that is under way."""
    handle = system.handle(order_id)
    await system.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=system.client.namespace, workflow_execution=WorkflowExecution(workflow_id=handle.id)
        )
    )

    async def is_forgotten() -> bool:
        if (await system.client.count_workflows(f"WorkflowId = '{handle.id}'")).count:
            return False
        try:
            await handle.describe()
        except RPCError:
            return True
        return False

    await eventually(is_forgotten)


async def accepted(http: httpx2.AsyncClient) -> str:
    """Place an order that no worker has seen; its id."""
    answer = await http.post("/orders/", json=a_body(), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    return str(answer.json()["order_id"])


async def test_a_pending_order_waits_for_the_promotion_or_a_command(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    found = await explained(http, order["id"])

    assert found["waits_for"] == "The next promotion, or a command: PROCESSING or CANCELLED"
    assert (found["status"], found["version"], found["projected_version"]) == ("PENDING", 1, 1)
    assert (found["pending_activities"], found["rejections"]) == ([], [])


async def test_a_promoted_order_waits_for_a_command(http: httpx2.AsyncClient) -> None:
    order = await move(http, await place(http), "PROCESSING")

    found = await explained(http, order["id"])

    assert found["waits_for"] == "A command: SHIPPED"
    assert (found["status"], found["version"], found["projected_version"]) == ("PROCESSING", 2, 2)


@pytest.mark.parametrize("status", ["DELIVERED", "CANCELLED"])
async def test_an_order_that_is_over_waits_for_nothing(
    system: System, http: httpx2.AsyncClient, status: str
) -> None:
    steps = ("PROCESSING", "SHIPPED", "DELIVERED") if status == "DELIVERED" else ("CANCELLED",)
    order = await move(http, await place(http), *steps)
    await system.handle(order["id"]).result()

    found = await explained(http, order["id"])

    assert found["waits_for"] == f"Nothing: the order is {status}"
    assert (found["status"], found["workflow"]["status"]) == (status, "COMPLETED")
    assert found["version"] == found["projected_version"] == len(steps) + 1
    assert datetime.fromisoformat(found["workflow"]["closed_at"]) >= datetime.fromisoformat(
        found["workflow"]["started_at"]
    )


async def test_an_order_that_temporal_has_forgotten_is_explained_by_postgresql(
    system: System, http: httpx2.AsyncClient
) -> None:
    """Not deleted from Temporal, which takes half a minute where a workflow is over, but never there."""
    record = a_record(OrderStatus.CANCELLED)
    await project(system.engine, record)

    found = await explained(http, str(record.order.id))

    assert found["waits_for"] == "Nothing: the order is CANCELLED"
    assert (found["workflow"], found["pending_task"]) == (None, None)
    assert (found["status"], found["version"], found["projected_version"]) == ("CANCELLED", 2, 2)


@pytest.mark.parametrize("forgotten", [False, True], ids=["terminated", "gone"])
async def test_an_open_order_without_a_running_workflow_waits_for_nobody(
    system: System,
    http: httpx2.AsyncClient,
    forgotten: bool,  # noqa: FBT001
) -> None:
    order = await place(http)
    await (forget(system, order["id"]) if forgotten else system.handle(order["id"]).terminate())

    found = await explained(http, order["id"])

    ended = "gone" if forgotten else "TERMINATED"
    assert found["waits_for"] == (
        f"Nobody: its workflow is {ended} and the order is open; `orders doctor` says what to do"
    )
    assert (found["workflow"] is None) == forgotten
    assert found["status"] == "PENDING"


async def test_the_signals_that_an_order_refused_are_listed(system: System, http: httpx2.AsyncClient) -> None:
    order = await place(http)
    signal = {"status": "DELIVERED", "changed_by": "carrier", "command_id": "c-1"}
    await system.handle(order["id"]).signal("update_status", signal)
    await system.handle(order["id"]).signal("update_status", "nonsense")

    async def are_listed() -> bool:
        return len((await explained(http, order["id"]))["rejections"]) == 2

    await eventually(are_listed)
    first, second = (await explained(http, order["id"]))["rejections"]
    assert (first["command_id"], first["status"], first["changed_by"]) == ("c-1", "DELIVERED", "carrier")
    assert first["reason"] == "Invalid status transition from PENDING to DELIVERED"
    assert (second["status"], second["reason"]) == (None, "signal: must be an object")


@pytest.mark.parametrize("ui", ["http://127.0.0.1:8233", "https://temporal.example/ui/"])
async def test_the_workflow_is_named_and_can_be_opened_in_the_web_ui(
    system: System, http: httpx2.AsyncClient, ui: str
) -> None:
    order = await place(http)
    await system.until_settled(order["id"])

    async with api_of(set_to(system, temporal_ui_url=ui)) as linked:
        found = (await explained(linked, order["id"]))["workflow"]

    description = await system.handle(order["id"]).describe()
    assert (found["id"], found["run_id"]) == (f"order-{order['id']}", description.run_id)
    assert (found["status"], found["closed_at"]) == ("RUNNING", None)
    assert found["history_events"] == description.history_length
    path = f"namespaces/shared/workflows/order-{order['id']}/{description.run_id}/history"
    assert found["web_ui"] == f"{ui.rstrip('/')}/{path}"


async def test_an_order_that_nobody_serves_waits_for_a_worker(lonely_http: httpx2.AsyncClient) -> None:
    order_id = await accepted(lonely_http)

    found = await explained(lonely_http, order_id)

    assert found["waits_for"] == (
        "A worker that serves the queue 'orders' and can show the order: "
        f"no answer within {SHORT_DEADLINE:g} s"
    )
    assert (found["status"], found["version"], found["projected_version"]) == (None, None, None)
    assert found["pending_task"]["attempt"] == 1
    assert datetime.fromisoformat(found["pending_task"]["scheduled_at"]).tzinfo
    assert found["workflow"]["status"] == "RUNNING"


async def test_an_order_whose_workers_went_away_is_shown_as_postgresql_has_it(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    order_id = await accepted(lonely_http)

    async def is_projected() -> bool:
        return await get_order(lonely.engine, UUID(order_id)) is not None

    async with lonely.workers(Role.ORDERS):
        await eventually(is_projected)

    found = await explained(lonely_http, order_id)

    assert found["waits_for"] == (
        "A worker that serves the queue 'orders' and can show the order: "
        f"no answer within {SHORT_DEADLINE:g} s"
    )
    assert (found["status"], found["version"], found["projected_version"]) == ("PENDING", 1, 1)


async def test_an_order_that_cannot_be_projected_says_which_activity_fails_and_why(lonely: System) -> None:
    async with with_a_line_to_postgresql(lonely) as (broken, line), api_of(broken) as http:
        line.cut()
        async with broken.workers(Role.ORDERS):
            order_id = await accepted(http)

            found: Json = {}
            asked_at = datetime.now(UTC)

            async def is_to_be_attempted_again() -> bool:
                nonlocal asked_at
                asked_at = datetime.now(UTC)
                found.update(await explained(http, order_id))
                return any(activity["next_attempt_at"] for activity in found["pending_activities"])

            await eventually(is_to_be_attempted_again)

    (activity,) = found["pending_activities"]
    assert (activity["type"], activity["state"]) == ("project_order", "SCHEDULED")
    assert datetime.fromisoformat(activity["next_attempt_at"]) > asked_at
    assert activity["last_failure"].startswith("PostgreSQL is unavailable: ")
    assert found["waits_for"] == (
        f"Attempt {activity['attempt']} of the activity project_order to succeed: {activity['last_failure']}"
    )
    assert activity["attempt"] >= 2
    assert (found["status"], found["version"], found["projected_version"]) == ("PENDING", 1, None)


@workflow.defn(name="OrderWorkflow", sandboxed=False)
class OrderOfABadRelease:
    """Fails every workflow task, as a release does that cannot replay what it finds."""

    @workflow.run
    async def run(self, _: object) -> None:
        raise RuntimeError("a bad release")

    @workflow.query
    def order(self) -> None:
        raise RuntimeError("a bad release")


async def test_an_order_whose_workflow_task_fails_says_where_to_look(
    lonely: System, lonely_http: httpx2.AsyncClient
) -> None:
    order_id = await accepted(lonely_http)
    async with Worker(lonely.client, task_queue=ORDERS_QUEUE, workflows=[OrderOfABadRelease]):

        async def has_failed() -> bool:
            task = (await explained(lonely_http, order_id))["pending_task"]
            return bool(task and task["attempt"] > 1)

        await eventually(has_failed)
        found = await explained(lonely_http, order_id)

        async def says_why() -> bool:
            """Temporal holds the query until the task has failed a few times."""
            seen = await lonely.dispatcher.reader.inspect(UUID(order_id))
            return "Workflow Task in failed state" in seen.silence

        await eventually(says_why)

    assert found["waits_for"] == (
        f"Attempt {found['pending_task']['attempt']} of its workflow task to succeed; "
        "the workers' log says what fails"
    )
    await lonely.handle(order_id).terminate()


@workflow.defn(name="OrderWorkflow", sandboxed=False)
class OrderOfAReleaseThatCannotReplay:
    """Does something else at once than what the orders that it finds have done."""

    @workflow.run
    async def run(self, _: object) -> None:
        await workflow.sleep(1)

    @workflow.query
    def order(self) -> None:
        """Never reached."""


async def test_an_order_that_no_worker_can_load_is_explained_and_not_readable(
    lonely: System,
) -> None:
    async with api_of(lonely) as cut:
        async with lonely.workers(Role.ORDERS):
            order = await place(cut)
        async with lonely.engine.begin() as connection:
            await connection.execute(
                delete(order_status_history).where(order_status_history.c.order_id == UUID(order["id"]))
            )
            await connection.execute(delete(order_items).where(order_items.c.order_id == UUID(order["id"])))
            await connection.execute(delete(orders).where(orders.c.id == UUID(order["id"])))
        async with Worker(
            lonely.client, task_queue=ORDERS_QUEUE, workflows=[OrderOfAReleaseThatCannotReplay]
        ):
            found = await explained(cut, order["id"])
            read = await cut.get(f"/orders/{order['id']}")

    assert "can show the order: " in found["waits_for"]
    assert "ondeterminism" in found["waits_for"]
    assert (read.status_code, read.json()["code"]) == (503, "not_yet_readable")
    await lonely.handle(order["id"]).terminate()


async def test_without_postgresql_the_workflow_explains_itself(
    system: System, http: httpx2.AsyncClient
) -> None:
    order = await place(http)

    async with with_a_line_to_postgresql(system) as (broken, line), api_of(broken) as cut:
        line.cut()
        found = await explained(cut, order["id"])
        unknown = await cut.get(f"/orders/{uuid4()}/explain")

    assert found["waits_for"] == "The next promotion, or a command: PROCESSING or CANCELLED"
    assert (found["version"], found["projected_version"]) == (1, None)
    assert (unknown.status_code, unknown.json()["code"]) == (503, "database_unavailable")


async def test_an_unknown_order_is_not_found(http: httpx2.AsyncClient) -> None:
    unknown = UUID(int=7)

    answer = await http.get(f"/orders/{unknown}/explain")

    assert (answer.status_code, answer.json()["code"]) == (404, "order_not_found")
    assert answer.json()["detail"] == f"Order {unknown} not found"


async def test_without_temporal_nothing_is_explained(system: System, http: httpx2.AsyncClient) -> None:
    order = await place(http)

    async with without_temporal(impatient(system)) as broken, api_of(broken) as cut:
        answer = await cut.get(f"/orders/{order['id']}/explain")

    assert (answer.status_code, answer.json()["code"]) == (503, "temporal_unavailable")
    assert answer.headers["Retry-After"] == "1"
