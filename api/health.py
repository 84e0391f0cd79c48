"""Whether this process lives, and whether what it depends on does."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from api import __version__, documentation
from api.schemas import Health
from database import queries
from database.engine import DatabaseUnavailable
from workflows.client import TemporalUnavailable

SERVICE = "order-processing-system"
_PATIENCE_SECONDS = 2.0

router = APIRouter(prefix="/health", tags=["health"])

_HEALTHY = Health(status="healthy", service=SERVICE, version=__version__)


@router.get("", summary="Health", response_model_exclude_none=True, responses={200: documentation.LIVE})
@router.get(
    "/live", summary="Liveness", response_model_exclude_none=True, responses={200: documentation.LIVE}
)
async def live() -> Health:
    """Answer as long as the process does; what it depends on is not asked."""
    return _HEALTHY


@router.get(
    "/ready",
    summary="Readiness",
    response_model=Health,
    responses={200: documentation.READY, 503: documentation.UNREADY | {"model": Health}},
)
async def ready(request: Request) -> Response:
    """Answer 200 when PostgreSQL and Temporal can be reached from here, 503 when one cannot.

    Also 503 once this process has been told to stop, so that a balancer sends it nothing more.
    """
    state = request.app.state
    postgresql, temporal = await asyncio.gather(
        _ask(queries.check_reachable(state.engine)),
        _ask(state.dispatcher.reader.check_reachable()),
    )
    dependencies = {"postgresql": postgresql, "temporal": temporal}
    is_ready = not state.is_draining and all(answer == "up" for answer in dependencies.values())
    health = Health(
        status="healthy" if is_ready else "unhealthy",
        service=SERVICE,
        version=__version__,
        dependencies=dependencies,
    )
    return _answer(health, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


def _answer(health: Health, status: HTTPStatus = HTTPStatus.OK) -> Response:
    body = health.model_dump_json(exclude_none=True)
    return Response(body, status_code=status, media_type="application/json")


async def _ask(question: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await question
    except (TimeoutError, TemporalUnavailable, DatabaseUnavailable):
        return "down"
    return "up"
