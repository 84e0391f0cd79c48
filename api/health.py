"""Whether this process lives, and whether what it depends on does."""

import asyncio
import time
from collections.abc import Awaitable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from api import __version__, documentation
from api.reader import Reader
from api.schemas import Health
from database import queries
from database.engine import DatabaseUnavailable
from workflows.client import TemporalUnavailable

SERVICE = "order-processing-system"
FRESH_SECONDS = 1.0
"""How long an answer of what this process depends on is given again."""

_PATIENCE_SECONDS = 2.0


class Dependencies:
    """What this process depends on, asked once for everybody who wants to know within a second.

    Nobody shows a key for readiness, so asking must cost no more the more often it is done.
    """

    def __init__(self, engine: AsyncEngine, reader: Reader) -> None:
        self._engine = engine
        self._reader = reader
        self._question: asyncio.Task[dict[str, str]] | None = None
        self._fresh_until = 0.0

    async def states(self) -> dict[str, str]:
        """`up` or `down` for each dependency by its name, at most `FRESH_SECONDS` old."""
        question = self._question
        if question is None or (question.done() and time.monotonic() >= self._fresh_until):
            question = self._question = asyncio.create_task(self._ask())
        # One who hangs up leaves the question to the others.
        return await asyncio.shield(question)

    async def _ask(self) -> dict[str, str]:
        try:
            postgresql, temporal = await asyncio.gather(
                _state_of(queries.check_reachable(self._engine)), _state_of(self._reader.check_reachable())
            )
        finally:
            self._fresh_until = time.monotonic() + FRESH_SECONDS
        return {"postgresql": postgresql, "temporal": temporal}


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

    An answer may be a second old. Also 503 once this process has been told to stop, so that a balancer
    sends it nothing more.
    """
    state = request.app.state
    dependencies: dict[str, str] = await state.dependencies.states()
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


async def _state_of(question: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await question
    except (TimeoutError, TemporalUnavailable, DatabaseUnavailable):
        return "down"
    return "up"
