"""The examination by schedule."""

import logging
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from database.engine import create_engine
from doctor.activities import DoctorActivities
from doctor.checkup import CheckupWorkflow
from doctor.findings import Kind
from embedded.child import free_port
from orders.names import CHECKUP_SCHEDULE_ID, CHECKUP_WORKFLOW_ID, PROMOTION_SCHEDULE_ID
from orders.status import OrderStatus
from schedule import CHECKUP_INTERVAL, declare
from tests.conftest import settings_for
from tests.doctor.conftest import SHORT_PAUSES, Ward
from tests.system import STRICT_SANDBOX, System, eventually

_, PROCESSING, _, _, _ = OrderStatus

AHEAD = "UPDATE orders SET version = 9 WHERE id = :id"


def activities(system: System) -> DoctorActivities:
    return DoctorActivities(system.engine, system.client, SHORT_PAUSES)


async def test_a_checkup_counts_what_is_wrong_and_changes_nothing(ward: Ward) -> None:
    order_id = await ward.place(PROCESSING)
    await ward.harm(order_id, AHEAD)
    before = await ward.stored(order_id)
    queue = f"checkup-{uuid4()}"

    async with Worker(
        ward.system.client,
        task_queue=queue,
        workflows=[CheckupWorkflow],
        activities=[activities(ward.system).examine_orders],
        workflow_runner=STRICT_SANDBOX,
    ):
        result = await ward.system.client.execute_workflow(CheckupWorkflow.run, id=queue, task_queue=queue)

    assert result.findings["ahead"] == 1
    assert min(result.workflows, result.rows) >= 1
    assert await ward.stored(order_id) == before


async def test_its_findings_are_metrics_of_each_kind_and_lines_of_the_log(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    order_id = await ward.place()
    await ward.harm(order_id, AHEAD)
    buffer = MetricBuffer(10_000)
    environment = ActivityEnvironment()
    environment.metric_meter = Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter

    with caplog.at_level(logging.INFO, "temporalio.activity"):
        result = await environment.run(activities(ward.system).examine_orders)

    updates = buffer.retrieve_updates()
    findings = {
        update.attributes["kind"]: update.value
        for update in updates
        if update.metric.name == "orders_findings"
    }
    examined = [update.value for update in updates if update.metric.name == "orders_examined"]
    assert findings.keys() == set(Kind)
    assert {kind: number for kind, number in findings.items() if number} == result.findings
    assert findings["ahead"] == 1
    assert examined == [result.rows]
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith(f"Order {order_id} is ahead: ") for line in said)
    assert any("Orders in PostgreSQL: " in line for line in said)


async def test_a_checkup_that_cannot_look_fails_in_one_line(ward: Ward) -> None:
    nowhere = create_engine(
        settings_for(f"postgresql://orders@127.0.0.1:{free_port()}/orders"), application_name="tests"
    )

    with pytest.raises(ApplicationError) as failure:
        await ActivityEnvironment().run(DoctorActivities(nowhere, ward.system.client).examine_orders)

    assert failure.value.type == "DatabaseUnavailable"
    assert len(str(failure.value).splitlines()) == 1


async def test_the_schedule_starts_it_on_a_worker_of_the_promotion(ward: Ward) -> None:
    client = ward.system.client
    await declare(client, ward.system.settings.model_copy(update={"promotion_interval": 86_400}))
    schedule = client.get_schedule_handle(CHECKUP_SCHEDULE_ID)
    try:
        description = await schedule.describe()
        await schedule.trigger()

        async def has_run() -> bool:
            query = f"WorkflowId STARTS_WITH '{CHECKUP_WORKFLOW_ID}'"
            return [it.status async for it in client.list_workflows(query)] == [
                WorkflowExecutionStatus.COMPLETED
            ]

        await eventually(has_run)
    finally:
        await schedule.delete()
        # Or it would move other tests' orders every five minutes.
        await client.get_schedule_handle(PROMOTION_SCHEDULE_ID).delete()

    assert [it.every for it in description.schedule.spec.intervals] == [CHECKUP_INTERVAL]
