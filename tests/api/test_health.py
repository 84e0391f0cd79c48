import asyncio
import time
from types import SimpleNamespace

import httpx2
import pytest
from sqlalchemy import event

from api import __version__, health
from api.health import FRESH_SECONDS
from api.reader import Reader
from tests.api.conftest import api_of
from tests.api.outages import with_a_line_to_temporal, without_postgresql, without_temporal
from tests.system import System

HEALTHY = {"status": "healthy", "service": "order-processing-system", "version": __version__}


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_a_process_that_answers_is_healthy(http: httpx2.AsyncClient, path: str) -> None:
    response = await http.get(path)

    assert (response.status_code, response.json()) == (200, HEALTHY)


async def test_a_process_whose_dependencies_are_up_is_ready(http: httpx2.AsyncClient) -> None:
    response = await http.get("/health/ready")

    assert (response.status_code, response.json()) == (
        200,
        HEALTHY | {"dependencies": {"postgresql": "up", "temporal": "up"}},
    )


async def test_readiness_names_postgresql_when_it_is_down(system: System) -> None:
    async with without_postgresql(system) as broken, api_of(broken) as http:
        response = await http.get("/health/ready")

    assert (response.status_code, response.json()) == (
        503,
        HEALTHY | {"status": "unhealthy", "dependencies": {"postgresql": "down", "temporal": "up"}},
    )


async def test_readiness_names_temporal_when_it_was_never_there(system: System) -> None:
    async with without_temporal(system) as broken, api_of(broken) as http:
        response = await http.get("/health/ready")

    assert (response.status_code, response.json()["dependencies"]) == (
        503,
        {"postgresql": "up", "temporal": "down"},
    )


async def test_readiness_names_both_when_both_are_down(system: System) -> None:
    async with (
        without_postgresql(system) as one,
        without_temporal(one) as both,
        api_of(both) as http,
    ):
        response = await http.get("/health/ready")

    assert (response.status_code, response.json()["dependencies"]) == (
        503,
        {"postgresql": "down", "temporal": "down"},
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of readiness, which moves when a test says so."""
    clock = SimpleNamespace(now=time.monotonic())
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(health, "time", clock)
    return clock


async def test_readiness_names_temporal_when_it_has_gone_away(system: System, clock: SimpleNamespace) -> None:
    async with with_a_line_to_temporal(system) as (broken, line), api_of(broken) as http:
        before = await http.get("/health/ready")
        line.cut()
        clock.now += FRESH_SECONDS
        after = await http.get("/health/ready")

    assert (before.json()["dependencies"]["temporal"], after.json()["dependencies"]["temporal"]) == (
        "up",
        "down",
    )
    assert (before.status_code, after.status_code) == (200, 503)


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_a_process_lives_whatever_is_down(system: System, path: str) -> None:
    async with without_postgresql(system) as broken, api_of(broken) as http:
        assert (await http.get(path)).status_code == 200


async def test_however_many_ask_for_readiness_the_dependencies_are_asked_once_a_second(
    system: System, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    ask_temporal = Reader.check_reachable

    async def asked_temporal(reader: Reader) -> None:
        taken.append("temporal")
        await ask_temporal(reader)

    def asked_postgresql(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement == "SELECT 1":
            taken.append("postgresql")

    monkeypatch.setattr(Reader, "check_reachable", asked_temporal)
    async with api_of(system) as http:
        event.listen(system.engine.sync_engine, "before_cursor_execute", asked_postgresql)
        answers = await asyncio.gather(*[http.get("/health/ready") for _ in range(50)])
        answers += [await http.get("/health/ready") for _ in range(3)]
        assert sorted(taken) == ["postgresql", "temporal"]

        clock.now += FRESH_SECONDS
        answers += [await http.get("/health/ready")]
        assert sorted(taken) == ["postgresql", "postgresql", "temporal", "temporal"]
        event.remove(system.engine.sync_engine, "before_cursor_execute", asked_postgresql)

    assert {answer.status_code for answer in answers} == {200}


async def test_one_who_hangs_up_takes_the_answer_from_nobody(system: System) -> None:
    async with api_of(system) as http:
        leaving = asyncio.create_task(http.get("/health/ready"))
        staying = asyncio.create_task(http.get("/health/ready"))
        await asyncio.sleep(0)
        leaving.cancel()

        assert (await staying).status_code == 200
