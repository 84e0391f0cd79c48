from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import ScheduleOverlapPolicy

from orders.names import PROMOTION_SCHEDULE_ID
from schedule import declare
from settings import Settings
from tests.conftest import Systems
from tests.system import System, eventually


@pytest.fixture(scope="module")
async def bare_system(systems: Systems) -> AsyncIterator[System]:
    """A system without workers, so that what the schedule starts stays where it is."""
    async with systems("schedule") as system:
        yield system


def every(settings: Settings, seconds: float) -> Settings:
    return settings.model_copy(update={"promotion_interval": seconds})


async def test_the_schedule_is_declared_as_the_settings_say(bare_system: System) -> None:
    await declare(bare_system.client, every(bare_system.settings, 3_600))

    schedule = (await bare_system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID).describe()).schedule

    assert [interval.every for interval in schedule.spec.intervals] == [timedelta(hours=1)]
    assert schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert schedule.policy.catchup_window == timedelta(minutes=1)


async def test_declaring_again_updates_the_interval(bare_system: System) -> None:
    handle = bare_system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID)
    await declare(bare_system.client, every(bare_system.settings, 3_600))

    await declare(bare_system.client, every(bare_system.settings, 7_200))

    intervals = (await handle.describe()).schedule.spec.intervals
    assert [interval.every for interval in intervals] == [timedelta(hours=2)]


async def test_a_paused_schedule_stays_paused(bare_system: System) -> None:
    handle = bare_system.client.get_schedule_handle(PROMOTION_SCHEDULE_ID)
    await declare(bare_system.client, bare_system.settings)
    await handle.pause(note="stock-taking")

    async def is_paused() -> bool:
        return (await handle.describe()).schedule.state.paused

    await eventually(is_paused)

    await declare(bare_system.client, bare_system.settings)

    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "stock-taking")
