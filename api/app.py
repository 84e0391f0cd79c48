"""The application: rooms put together, resources opened and closed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from api import __version__, health, problems, routes
from api.dispatch import Dispatcher
from api.request_id import RequestIdMiddleware
from api.schemas import Problem
from settings import Settings

_DESCRIPTION = """
Orders as durable processes: each one is a Temporal workflow that decides every change of its status.

A write answers **201** or **200** once it is durable and readable, or **202** when it is durable and not
yet decided. Every error is `application/problem+json` (RFC 9457).
"""


def create_app(settings: Settings, client: Client, engine: AsyncEngine) -> RequestIdMiddleware:
    """The ASGI application on a client and an engine, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPIOffline(
        title="Order processing",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.state.dispatcher = Dispatcher.of(settings, client, engine)
    app.state.routes = [*routes.router.routes, *health.router.routes]
    app.include_router(routes.router)
    app.include_router(health.router)
    problems.register(app)
    _document_problems(app)
    # Outermost of all, so that even a failure of the framework carries the request's id.
    return RequestIdMiddleware(app)


def _document_problems(app: FastAPI) -> None:
    """Add the schema of problems, which no route returns as its model, to the document that FastAPI keeps."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    app.openapi()["components"]["schemas"].update(schema.pop("$defs"), Problem=schema)
