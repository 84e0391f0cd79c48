"""Whether this process lives, and whether what it depends on does."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from temporalio.service import RPCError

from api import __version__
from api.schemas import Health
from database import queries
from database.engine import UNAVAILABLE

SERVICE = "order-processing-system"
_PATIENCE_SECONDS = 2.0

router = APIRouter(prefix="/health", tags=["health"])

_HEALTHY = Health(status="healthy", service=SERVICE, version=__version__)


@router.get("", summary="Health", response_model_exclude_none=True)
@router.get("/live", summary="Liveness", response_model_exclude_none=True)
async def live() -> Health:
    """Answer as long as the process does; what it depends on is not asked."""
    return _HEALTHY


@router.get(
    "/ready",
    summary="Readiness",
    response_model=Health,
    responses={503: {"model": Health, "description": "A dependency is down; its name says which."}},
)
async def ready(request: Request) -> Response:
    """Answer 200 when PostgreSQL and Temporal can be reached from here, 503 when one cannot."""
    state = request.app.state
    postgresql, temporal = await asyncio.gather(
        _ask(queries.check_reachable(state.engine)),
        _ask(state.dispatcher.client.service_client.check_health()),
    )
    dependencies = {"postgresql": postgresql, "temporal": temporal}
    is_ready = all(answer == "up" for answer in dependencies.values())
    health = Health(
        status="healthy" if is_ready else "unhealthy",
        service=SERVICE,
        version=__version__,
        dependencies=dependencies,
    )
    return Response(
        health.model_dump_json(),
        status_code=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
        media_type="application/json",
    )


async def _ask(question: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await question
    except (TimeoutError, RPCError, *UNAVAILABLE):
        return "down"
    return "up"
