"""What the Temporal namespace must hold before the first order: search attributes and the schedule.

Declared, not scripted: running it again, or from many places at once, changes only what differs.
"""

import logging
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

import process
from connection import connect
from doctor.checkup import CheckupWorkflow
from logs import configure_logs
from orders.names import (
    CHECKUP_SCHEDULE_ID,
    CHECKUP_WORKFLOW_ID,
    PROMOTION_QUEUE,
    PROMOTION_SCHEDULE_ID,
    PROMOTION_WORKFLOW_ID,
    SEARCH_ATTRIBUTES,
)
from settings import ConfigurationError, Settings, load_settings
from workflows.promotion import PromotionWorkflow, Sweep

logger = logging.getLogger("schedule")

# A sweep takes every PENDING order, so one that was missed is made up for by the next; making up for
# a long outage, sweep by sweep, would only repeat it.
CATCH_UP = timedelta(minutes=1)
# Mostly pages of lists, so every hour is cheap; an order in trouble waits for a person for longer anyway.
CHECKUP_INTERVAL = timedelta(hours=1)


async def declare(client: Client, settings: Settings) -> None:
    """Register the search attributes and create or update the schedules of the promotion and the checkup.

    A schedule that somebody paused stays paused.
    """
    await _register_search_attributes(client)
    await _declare(client, PROMOTION_SCHEDULE_ID, _promotion(settings))
    logger.info("Promotion is scheduled every %g s", settings.promotion_interval)
    await _declare(client, CHECKUP_SCHEDULE_ID, _checkup())
    logger.info("The checkup is scheduled every %s", CHECKUP_INTERVAL)


async def _declare(client: Client, schedule_id: str, schedule: Schedule) -> None:
    try:
        await client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(
            lambda current: ScheduleUpdate(_keep_state(schedule, current))
        )


def _promotion(settings: Settings) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            PromotionWorkflow.run,
            Sweep(),
            id=PROMOTION_WORKFLOW_ID,
            task_queue=PROMOTION_QUEUE,
            static_summary="PENDING → PROCESSING",
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=timedelta(seconds=settings.promotion_interval))]
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        state=ScheduleState(note="Sends every PENDING order on to PROCESSING."),
    )


def _checkup() -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            CheckupWorkflow.run,
            id=CHECKUP_WORKFLOW_ID,
            task_queue=PROMOTION_QUEUE,
            static_summary="PostgreSQL = Temporal?",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=CHECKUP_INTERVAL)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        state=ScheduleState(note="Compares every order in PostgreSQL with its workflow; mends nothing."),
    )


def _keep_state(schedule: Schedule, current: ScheduleUpdateInput) -> Schedule:
    schedule.state = current.description.schedule.state
    return schedule


async def _register_search_attributes(client: Client) -> None:
    operator = client.operator_service
    try:
        existing = await operator.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        missing = {
            name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
            for name, kind in SEARCH_ATTRIBUTES.items()
            if name not in existing.custom_attributes
        }
        if missing:
            await operator.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return  # Somebody else declared them in the same moment.
        attributes = ", ".join(f"{name} ({kind})" for name, kind in SEARCH_ATTRIBUTES.items())
        raise ConfigurationError(
            f"The search attributes {attributes} cannot be registered in namespace {client.namespace}: "
            f"{error.message}"
        ) from None


async def _main() -> None:
    settings = load_settings()
    configure_logs(settings, process="schedule")
    await declare(await connect(), settings)


def main() -> None:
    """Declare from the command line."""
    process.run("schedule", _main)


if __name__ == "__main__":
    main()
