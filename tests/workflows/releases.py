"""Later releases of the order's workflow, as docs/releases.md shows them, so that tests can run them.

Two changes, each in the right way and in the wrong one: a new activity before projecting, and a new rule.
"""

from collections.abc import Callable

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from orders.errors import InvalidValue
    from orders.order import Order, OrderRecord, StatusChange
    from orders.signals import CancelSignal, StatusSignal
    from orders.status import OrderStatus
    from workflows.order import OrderWorkflow
    from workflows.state import OrderInput

ANNOUNCE = "announce-changes"
CANCEL_NEEDS_REASON = "cancel-needs-reason"


@activity.defn(name="announce")
async def announce(change: StatusChange) -> None:
    """Stands for telling the customer; the histories show whether it was asked for."""


async def _announce(change: StatusChange) -> None:
    await workflow.execute_activity(announce, change, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn(name="OrderWorkflow")
class Announcing(OrderWorkflow):
    """Each change is announced before it is projected: in every run that begins with this code."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> Order:
        return await super().run(start)

    async def _project(self, record: OrderRecord) -> None:
        if workflow.patched(ANNOUNCE):
            await _announce(record.history[-1])
        await super()._project(record)


@workflow.defn(name="OrderWorkflow")
class AnnouncingUnpatched(OrderWorkflow):
    """The same change, without the patch."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> Order:
        return await super().run(start)

    async def _project(self, record: OrderRecord) -> None:
        await _announce(record.history[-1])
        await super()._project(record)


@workflow.defn(name="OrderWorkflow")
class AnnouncingAlways(OrderWorkflow):
    """The release after: no order lives any more that began before `Announcing`."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> Order:
        return await super().run(start)

    async def _project(self, record: OrderRecord) -> None:
        workflow.deprecate_patch(ANNOUNCE)
        await _announce(record.history[-1])
        await super()._project(record)


def check_cancellation(signal: StatusSignal | CancelSignal) -> None:
    """The new rule, which would stand in `orders/lifecycle.py`."""
    if signal.reason is None:
        raise InvalidValue("reason", "is missing, and a cancellation needs one")


def _cancels(signal: StatusSignal | CancelSignal) -> bool:
    return signal.status == OrderStatus.CANCELLED


@workflow.defn(name="OrderWorkflow")
class AskingWhy(OrderWorkflow):
    """A cancellation needs a reason, wherever that was not decided otherwise before."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> Order:
        return await super().run(start)

    def _receive(self, read: Callable[[], StatusSignal | CancelSignal]) -> None:
        def judged() -> StatusSignal | CancelSignal:
            signal = read()
            if _cancels(signal) and workflow.patched(CANCEL_NEEDS_REASON):
                check_cancellation(signal)
            return signal

        super()._receive(judged)


@workflow.defn(name="OrderWorkflow")
class AskingWhyUnpatched(OrderWorkflow):
    """The same rule, without the patch."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> Order:
        return await super().run(start)

    def _receive(self, read: Callable[[], StatusSignal | CancelSignal]) -> None:
        def judged() -> StatusSignal | CancelSignal:
            signal = read()
            if _cancels(signal):
                check_cancellation(signal)
            return signal

        super()._receive(judged)
