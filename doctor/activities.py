"""The doctor as an activity: what it finds goes to the log and to the metrics, and nothing is changed."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from database.engine import DatabaseUnavailable
from doctor.examination import PAUSES, Doctor
from doctor.findings import Kind
from doctor.report import summarize
from doctor.temporal import CouldNotLook


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckupResult:
    """How many orders were compared, and how many findings there are of each kind that has any."""

    workflows: int
    rows: int
    findings: dict[str, int]


@dataclass(frozen=True)
class DoctorActivities:
    """Activities of the scheduled checkup."""

    engine: AsyncEngine
    client: Client
    pauses: tuple[float, ...] = PAUSES

    @activity.defn
    async def examine_orders(self) -> CheckupResult:
        """Examine every order.

        Sets the gauge `orders_findings` for each `kind`, and the gauge `orders_examined`.

        Raises:
            ApplicationError: PostgreSQL, Temporal or every worker of the orders is away.
        """
        doctor = Doctor(engine=self.engine, client=self.client, pauses=self.pauses)
        try:
            examination = await doctor.examine(_Heartbeat())
        except (CouldNotLook, DatabaseUnavailable) as outage:
            raise ApplicationError(str(outage), type=type(outage).__name__) from None
        for finding in examination.findings:
            activity.logger.warning("Order %s is %s: %s", finding.order_id, finding.kind, finding.detail)
        activity.logger.info("%s", summarize(examination))
        kinds = Counter(finding.kind for finding in examination.findings)
        meter = activity.metric_meter()
        gauge = meter.create_gauge("orders_findings", "What the doctor found wrong with orders", "orders")
        for kind in Kind:
            gauge.set(kinds[kind], {"kind": kind.value})
        examined = meter.create_gauge("orders_examined", "Orders that the doctor compared", "orders")
        examined.set(examination.rows)
        return CheckupResult(
            workflows=examination.workflows,
            rows=examination.rows,
            findings={kind.value: number for kind, number in kinds.items()},
        )


class _Heartbeat:
    """Progress as heartbeats, so that an examination whose worker died is begun again soon."""

    def begin(self, stage: str, total: int) -> None:
        """A stage begins, over about so many orders."""
        activity.heartbeat(stage, total)

    def advance(self, orders: int) -> None:
        """So many more orders of the stage are done."""
        activity.heartbeat(orders)
