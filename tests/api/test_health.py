import httpx2
import pytest

from api import __version__
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


async def test_readiness_names_temporal_when_it_has_gone_away(system: System) -> None:
    async with with_a_line_to_temporal(system) as (broken, line), api_of(broken) as http:
        before = await http.get("/health/ready")
        line.cut()
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
