"""The application: rooms put together, resources opened and closed."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from api import __version__, health, problems, routes
from api.dispatch import Dispatcher
from api.guard import SECURITY_SCHEME, Guard
from api.request_id import RequestIdMiddleware
from api.schemas import Problem
from settings import Settings

_DESCRIPTION = """
Orders as durable processes: each one is a Temporal workflow that decides every change of its status.

A write answers **201** or **200** once it is durable and readable, or **202** when it is durable and not
yet decided. Every error is `application/problem+json` (RFC 9457).
"""


def create_app(settings: Settings, client: Client, engine: AsyncEngine) -> FastAPI:
    """The ASGI application on a client and an engine; its lifespan keeps the API keys up to date."""
    guard = Guard.of(settings, engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with guard.keys.watching(), aclosing(guard.requests):
            yield

    app = FastAPIOffline(
        title="Order processing",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.state.is_draining = False
    app.state.guard = guard
    app.state.settings = settings
    app.state.dispatcher = dispatcher = Dispatcher.of(settings, client, engine)
    app.state.dependencies = health.Dependencies(engine, dispatcher.reader)
    app.state.routes = [*routes.router.routes, *health.router.routes]
    app.include_router(routes.router)
    app.include_router(health.router)
    problems.register(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Prefer",
                "X-Request-ID",
            ],
            expose_headers=[
                "ETag",
                "Idempotent-Replayed",
                "Link",
                "Location",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "X-Request-ID",
            ],
        )
    _complete_document(app)
    build_stack = app.build_middleware_stack
    # Outermost of all, so that even a failure of the framework carries the request's id.
    app.build_middleware_stack = lambda: RequestIdMiddleware(build_stack())  # type: ignore[method-assign]
    return app


def _complete_document(app: FastAPI) -> None:
    """Add what no route declares as its own to the document that FastAPI keeps: problems, and keys."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components = app.openapi()["components"]
    components["schemas"].update(schema.pop("$defs"), Problem=schema)
    components["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key made by `orders keys create`; each call names the scope that it needs.",
        }
    }
