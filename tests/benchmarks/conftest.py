from collections.abc import AsyncIterator

import pytest

from tests.conftest import Systems
from tests.system import System


@pytest.fixture(scope="session")
async def measured(systems: Systems) -> AsyncIterator[System]:
    """A system in which nothing runs but what a test starts."""
    async with systems("floor") as system:
        yield system
