"""Every answer that is not a success, as RFC 9457 problem details.

A problem says what a person needs and never echoes what was sent: a place and a reason are enough.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.bodies import BodyTooLarge, MalformedBody, UnsupportedBody
from api.dispatch import OrderUndecidable
from api.guard import Forbidden
from api.keys import Misdirected, Unauthenticated
from api.limits import Overloaded, TooMany
from api.reader import OrderNotReadable
from api.request_id import current_request_id, instance_of
from api.schemas import ErrorPlace, Problem
from database.engine import DatabaseUnavailable
from logs import visible
from orders.errors import (
    CommandIdReused,
    InvalidTransition,
    InvalidValue,
    LimitExceeded,
    OrderNotFound,
    VersionMismatch,
)
from workflows.client import TemporalUnavailable

logger = logging.getLogger("api")

RETRY_AFTER_SECONDS = 1
# A person has to give the order a workflow again.
_REVIVAL_SECONDS = 60

_MOST_MISTAKES = 20
_LONGEST_NAME = 64


def problem(
    request: Request,
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,  # noqa: ANN401 - the members of `Problem`, which checks them
) -> Response:
    """A problem as a response."""
    request_id = current_request_id()
    body = Problem(
        type=f"urn:orders:problem:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        instance=instance_of(request.scope, request_id),
        code=code,
        request_id=request_id,
        **members,
    )
    return Response(
        body.model_dump_json(exclude_none=True),
        status_code=status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def _retry_later(request: Request, code: str, detail: str, seconds: int = RETRY_AFTER_SECONDS) -> Response:
    headers = {"Retry-After": str(seconds)}
    return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers=headers)


async def _malformed_body(request: Request, error: MalformedBody) -> Response:
    return problem(request, HTTPStatus.BAD_REQUEST, "malformed_body", error.detail)


async def _body_too_large(request: Request, error: BodyTooLarge) -> Response:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return problem(request, status, "body_too_large", error.detail, headers=error.headers)


async def _unsupported_body(request: Request, error: UnsupportedBody) -> Response:
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return problem(request, status, "unsupported_body", error.detail, headers=error.headers)


async def _client_gone(request: Request, _: ClientDisconnect) -> Response:
    """Answer nobody: the client hung up while its body was read."""
    return problem(request, HTTPStatus.BAD_REQUEST, "malformed_body", "The body ended too early")


async def _unauthenticated(request: Request, error: Unauthenticated) -> Response:
    logger.warning("%s", error)
    headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
    return problem(request, HTTPStatus.UNAUTHORIZED, "unauthenticated", str(error), headers=headers)


async def _forbidden(request: Request, error: Forbidden) -> Response:
    logger.warning("%s", error)
    headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
    return problem(request, HTTPStatus.FORBIDDEN, "forbidden", str(error), headers=headers)


async def _misdirected(request: Request, error: Misdirected) -> Response:
    logger.warning("%s", error)
    return problem(request, HTTPStatus.MISDIRECTED_REQUEST, "misdirected_request", str(error))


async def _too_many(request: Request, error: TooMany) -> Response:
    request.state.fields.update(error.fields)
    return problem(request, HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", str(error))


async def _overloaded(request: Request, _: Overloaded) -> Response:
    return _retry_later(request, "overloaded", "As many requests are in hand as this server takes")


async def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    places = [
        ErrorPlace(
            place=".".join(_short(str(part)) for part in mistake["loc"]),
            reason=mistake["msg"].removeprefix("Value error, "),
        )
        for mistake in found[:_MOST_MISTAKES]
    ]
    first = f"{places[0].place}: {places[0].reason}"
    detail = first if len(found) == 1 else f"{first} (and {len(found) - 1} more)"
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=places)


def _short(name: str) -> str:
    """A name from the request, which may be one that nobody expected."""
    return visible(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


async def _invalid_value(request: Request, error: InvalidValue) -> Response:
    place = ErrorPlace(place=f"body.{error.place}", reason=error.reason)
    return problem(
        request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", f"body.{error}", errors=[place]
    )


async def _limit_exceeded(request: Request, error: LimitExceeded) -> Response:
    place = ErrorPlace(place=f"body.{error.place}", reason=error.reason)
    return problem(request, HTTPStatus.BAD_REQUEST, "limit_exceeded", f"body.{error}", errors=[place])


async def _order_not_found(request: Request, error: OrderNotFound) -> Response:
    return problem(request, HTTPStatus.NOT_FOUND, "order_not_found", str(error))


async def _invalid_transition(request: Request, error: InvalidTransition) -> Response:
    return problem(
        request,
        HTTPStatus.CONFLICT,
        "invalid_transition",
        str(error),
        current_status=error.current,
        requested_status=error.requested,
        allowed_transitions=list(error.allowed),
    )


async def _version_mismatch(request: Request, error: VersionMismatch) -> Response:
    return problem(
        request,
        HTTPStatus.PRECONDITION_FAILED,
        "version_mismatch",
        str(error),
        headers={"ETag": f'"{error.current}"'},
        current_version=error.current,
    )


async def _command_id_reused(request: Request, error: CommandIdReused) -> Response:
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "command_id_reused", str(error))


async def _not_readable(request: Request, error: OrderNotReadable) -> Response:
    return _retry_later(request, "not_yet_readable", str(error))


async def _undecidable(request: Request, error: OrderUndecidable) -> Response:
    logger.error("%s", error)
    return _retry_later(request, "workflow_missing", str(error), _REVIVAL_SECONDS)


async def _temporal_unavailable(request: Request, error: TemporalUnavailable) -> Response:
    logger.error("%s", error)
    return _retry_later(
        request, "temporal_unavailable", "Temporal cannot be reached, so nothing is promised; try again"
    )


async def _database_unavailable(request: Request, error: DatabaseUnavailable) -> Response:
    logger.error("%s", error)
    return _retry_later(request, "database_unavailable", "PostgreSQL cannot be reached")


async def _http_error(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of one route; a path of ours is several.
        methods = {method for method in headers.get("Allow", "").split(", ") if method}
        headers["Allow"] = ", ".join(sorted(methods | _methods_of(request)))
    return problem(request, status, code, error.detail, headers=headers)


def _methods_of(request: Request) -> set[str]:
    routes: list[APIRoute] = request.app.state.routes
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _internal_error(request: Request, error: Exception) -> Response:
    logger.error("Unhandled error", exc_info=error)
    detail = "The server failed; the log has the cause under this request id"
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def register(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    handlers: dict[type[Exception], Any] = {
        Unauthenticated: _unauthenticated,
        Misdirected: _misdirected,
        Forbidden: _forbidden,
        TooMany: _too_many,
        Overloaded: _overloaded,
        ClientDisconnect: _client_gone,
        UnsupportedBody: _unsupported_body,
        BodyTooLarge: _body_too_large,
        MalformedBody: _malformed_body,
        RequestValidationError: _invalid_request,
        InvalidValue: _invalid_value,
        LimitExceeded: _limit_exceeded,
        OrderNotFound: _order_not_found,
        InvalidTransition: _invalid_transition,
        VersionMismatch: _version_mismatch,
        CommandIdReused: _command_id_reused,
        OrderNotReadable: _not_readable,
        OrderUndecidable: _undecidable,
        TemporalUnavailable: _temporal_unavailable,
        HTTPException: _http_error,
        Exception: _internal_error,
        DatabaseUnavailable: _database_unavailable,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)
