"""The checkup: the doctor's examination by schedule. It reports; mending is left to a person."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from doctor.activities import CheckupResult, DoctorActivities


@workflow.defn(name="CheckupWorkflow")
class CheckupWorkflow:
    """One examination of all orders."""

    @workflow.run
    async def run(self) -> CheckupResult:
        """Examine; fail when that could not be done in three attempts. The next checkup starts afresh."""
        return await workflow.execute_activity_method(
            DoctorActivities.examine_orders,
            start_to_close_timeout=timedelta(hours=6),
            # Longer than the doctor's longest pause, or the wait for an answer.
            heartbeat_timeout=timedelta(minutes=2),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=30), maximum_attempts=3),
        )
