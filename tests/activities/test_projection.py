import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.projection import ProjectionActivities
from connection import DATA_CONVERTER
from database.engine import create_engine
from database.queries import get_record
from embedded.child import free_port
from orders import lifecycle
from orders.order import OrderRecord
from orders.status import OrderStatus
from tests.builders import a_record
from tests.conftest import settings_for
from tests.orders.strategies import place_orders, times
from tests.system import System


def money_of(record: OrderRecord) -> list[str]:
    return [str(record.order.total_amount), *(str(item.unit_price) for item in record.order.items)]


async def test_a_record_is_in_the_database_when_the_activity_ends(idle: System) -> None:
    record = a_record(OrderStatus.PROCESSING)

    await ActivityEnvironment().run(ProjectionActivities(idle.engine).project_order, record)

    assert record == await get_record(idle.engine, record.order.id)


async def test_an_activity_that_is_run_again_changes_nothing(idle: System) -> None:
    older, record = a_record(), a_record(OrderStatus.CANCELLED)
    activities = ProjectionActivities(idle.engine)

    for it in (record, record, older):
        await ActivityEnvironment().run(activities.project_order, it)

    assert record == await get_record(idle.engine, record.order.id)


async def test_a_database_that_is_away_fails_the_activity_so_that_temporal_tries_again() -> None:
    settings = settings_for(f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")
    activities = ProjectionActivities(create_engine(settings, application_name="tests"))

    with pytest.raises(ApplicationError) as failure:
        await ActivityEnvironment().run(activities.project_order, a_record())

    assert (failure.value.type, failure.value.non_retryable) == ("DatabaseUnavailable", False)


@given(st.builds(lifecycle.place, place_orders(), times))
def test_a_record_travels_through_temporal_unchanged(record: OrderRecord) -> None:
    converter = DATA_CONVERTER.payload_converter

    received = converter.from_payload(converter.to_payload(record), OrderRecord)

    assert record == received
    # Decimals are equal whatever their number of zeros, so their text is compared, too.
    assert money_of(record) == money_of(received)
