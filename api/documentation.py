"""The answers of each call as OpenAPI shows them: an example for every success and every problem."""

from http import HTTPStatus
from typing import Any

from api.schemas import ORDER_EXAMPLE, Problem

_ID = ORDER_EXAMPLE["id"]
_REQUEST_ID = "5f0c6f4e-9d0a-4a57-9f0c-0d8b3a1c2e11"

_HEADERS = {
    "ETag": {"description": "The order's version, quoted.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when another request under the same key had the command carried out.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": "The pages around this one (RFC 8288), with the same filters, sort and limit: "
        "`first`, `prev`, `next` and `last`; after a cursor, `first` and `next`.",
        "schema": {"type": "string"},
        "example": '</orders/?limit=50&page=1>; rel="first", </orders/?limit=50&page=1>; rel="last"',
    },
    "Location": {"description": "The order's address.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": "What is left of the caller's requests, or of the limit that refused, and seconds "
        "until there is more.",
        "schema": {"type": "string"},
        "example": '"caller";r=59998;t=42',
    },
    "RateLimit-Policy": {
        "description": "That limit: how many in how many seconds.",
        "schema": {"type": "string"},
        "example": '"caller";q=60000;w=60',
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "What to come with.", "schema": {"type": "string"}},
    "X-Request-ID": {"description": "The request's id, as the log has it.", "schema": {"type": "string"}},
}
_ACCEPTED_EXAMPLE = {
    "order_id": _ID,
    "command_id": "2b1f0f0e-7c55-4d77-8a9b-0a4f3d0e9b10",
    "detail": "The command is durable and will be decided; look at the order for the outcome",
}
_HISTORY_EXAMPLE = {
    "order_id": _ID,
    "history": [
        {
            "version": 1,
            "old_status": None,
            "new_status": "PENDING",
            "changed_at": ORDER_EXAMPLE["created_at"],
            "changed_by": "api",
            "reason": None,
            "command_id": _ID,
            "on_behalf_of": None,
            "request_id": _REQUEST_ID,
        }
    ],
}
_EXPLANATION_EXAMPLE = {
    "order_id": _ID,
    "waits_for": "Attempt 4 of the activity project_order to succeed: PostgreSQL is unavailable",
    "status": "PROCESSING",
    "version": 2,
    "projected_version": 1,
    "workflow": {
        "id": f"order-{_ID}",
        "run_id": "0190c7b2-6f10-7a4e-8b60-5b7e3cf0f001",
        "status": "RUNNING",
        "started_at": ORDER_EXAMPLE["created_at"],
        "closed_at": None,
        "history_events": 17,
        "web_ui": f"http://127.0.0.1:8233/namespaces/orders/workflows/order-{_ID}"
        "/0190c7b2-6f10-7a4e-8b60-5b7e3cf0f001/history",
    },
    "pending_task": None,
    "pending_activities": [
        {
            "type": "project_order",
            "state": "SCHEDULED",
            "attempt": 4,
            "last_failure": "PostgreSQL is unavailable",
            "next_attempt_at": "2026-01-05T09:35:04Z",
        }
    ],
    "rejections": [
        {
            "command_id": None,
            "status": "DELIVERED",
            "changed_by": "carrier-3",
            "rejected_at": "2026-01-05T09:34:00Z",
            "reason": "Invalid status transition from PROCESSING to DELIVERED",
            "request_id": None,
        }
    ],
}
_PAGE_EXAMPLE = {
    "orders": [ORDER_EXAMPLE],
    "total": 1,
    "page": 1,
    "limit": 50,
    "has_next": False,
    "has_prev": False,
    "next_cursor": None,
}

_PROBLEMS: dict[str, tuple[HTTPStatus, str, dict[str, Any]]] = {
    "malformed_request": (HTTPStatus.BAD_REQUEST, "The request is not well-formed HTTP/1.1", {}),
    "request_timeout": (
        HTTPStatus.REQUEST_TIMEOUT,
        "The request did not arrive within 10 seconds",
        {},
    ),
    "head_too_large": (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request has more than 100 header fields",
        {},
    ),
    "malformed_body": (
        HTTPStatus.BAD_REQUEST,
        "The body is not JSON: Expecting value at line 1 column 16",
        {},
    ),
    "limit_exceeded": (
        HTTPStatus.BAD_REQUEST,
        "body.total_amount: must be at most 1000000000000 USD",
        {"errors": [{"place": "body.total_amount", "reason": "must be at most 1000000000000 USD"}]},
    ),
    "order_not_found": (HTTPStatus.NOT_FOUND, f"Order {_ID} not found", {}),
    "invalid_transition": (
        HTTPStatus.CONFLICT,
        "Invalid status transition from PENDING to DELIVERED",
        {
            "current_status": "PENDING",
            "requested_status": "DELIVERED",
            "allowed_transitions": ["PROCESSING", "CANCELLED"],
        },
    ),
    "cannot_cancel": (
        HTTPStatus.CONFLICT,
        "Cannot cancel order with status PROCESSING",
        {
            "current_status": "PROCESSING",
            "requested_status": "CANCELLED",
            "allowed_transitions": ["SHIPPED"],
        },
    ),
    "version_mismatch": (
        HTTPStatus.PRECONDITION_FAILED,
        "Order has version 2, not 1",
        {"current_version": 2},
    ),
    "command_id_reused": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Command id 2b1f0f0e-7c55-4d77-8a9b-0a4f3d0e9b10 was already used for another command",
        {},
    ),
    "invalid_request": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "body.items.0.quantity: Input should be greater than or equal to 1",
        {
            "errors": [
                {
                    "place": "body.items.0.quantity",
                    "reason": "Input should be greater than or equal to 1",
                }
            ]
        },
    ),
    "not_yet_readable": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"Order {_ID} exists and cannot be shown yet",
        {},
    ),
    "workflow_missing": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"Order {_ID} is open and its workflow is gone",
        {},
    ),
    "temporal_unavailable": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Temporal cannot be reached, so nothing is promised; try again",
        {},
    ),
    "database_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "PostgreSQL cannot be reached", {}),
    "unauthenticated": (
        HTTPStatus.UNAUTHORIZED,
        "An API key is needed: `Authorization: Bearer <key>`",
        {},
    ),
    "forbidden": (HTTPStatus.FORBIDDEN, "The API key lacks the scope orders:operate", {}),
    "body_too_large": (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body has more than 1048576 bytes",
        {},
    ),
    "unsupported_body": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "Content-Type must be application/json",
        {},
    ),
    "misdirected_request": (
        HTTPStatus.MISDIRECTED_REQUEST,
        "Without API keys only this machine is served: ask for 127.0.0.1 or localhost",
        {},
    ),
    "too_many_requests": (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", {}),
    "overloaded": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "As many requests are in hand as this server takes",
        {},
    ),
    "internal_error": (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The server failed; the log has the cause under this request id",
        {},
    ),
}


# What any call on orders may answer (see `api.guard` and `api.protocol`), and any with a body.
_ALWAYS = (
    "malformed_request",
    "request_timeout",
    "head_too_large",
    "unauthenticated",
    "forbidden",
    "misdirected_request",
    "too_many_requests",
    "overloaded",
    "database_unavailable",
    "internal_error",
)
BODY_PROBLEMS = ("malformed_body", "body_too_large", "unsupported_body")
_LIMITS = ("RateLimit", "RateLimit-Policy")
_HEADERS_OF = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.FORBIDDEN: ("WWW-Authenticate",),
    HTTPStatus.PRECONDITION_FAILED: ("ETag",),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After", *_LIMITS),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: _HEADERS[name] for name in (*names, "X-Request-ID")}


def problems(instance: str, *names: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a call may answer with, an example for each, grouped by status."""
    answers: dict[int | str, dict[str, Any]] = {}
    for name in dict.fromkeys((*names, *_ALWAYS)):
        status, detail, members = _PROBLEMS[name]
        code = "invalid_transition" if name == "cannot_cancel" else name
        example = {
            "type": f"urn:orders:problem:{code}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
            "instance": instance.replace("{order_id}", _ID),
            "code": code,
            "request_id": _REQUEST_ID,
            **members,
        }
        content = answers.setdefault(
            status.value,
            {
                "description": status.phrase,
                "headers": _headers(*_HEADERS_OF.get(status, ())),
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": f"#/components/schemas/{Problem.__name__}"},
                        "examples": {},
                    }
                },
            },
        )["content"]
        content["application/problem+json"]["examples"][name] = {"summary": detail, "value": example}
    return answers


def _success(description: str, example: dict[str, Any], *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers(*headers),
        "content": {"application/json": {"example": example}},
    }


_HEALTHY = {"status": "healthy", "service": "order-processing-system", "version": "0.1.0"}

LIVE = _success("The process answers.", _HEALTHY)
READY = _success(
    "Everything it needs answers.", _HEALTHY | {"dependencies": {"postgresql": "up", "temporal": "up"}}
)
UNREADY = _success(
    "Something it needs does not answer.",
    _HEALTHY | {"status": "unhealthy", "dependencies": {"postgresql": "up", "temporal": "down"}},
)
ORDER = _success("The order.", ORDER_EXAMPLE, "ETag", "Idempotent-Replayed", *_LIMITS)
FORESEEN = _success("What would happen, with `dry_run`.", ORDER_EXAMPLE, *_LIMITS)
CREATED = _success(
    "The order, durable and readable.", ORDER_EXAMPLE, "ETag", "Location", "Idempotent-Replayed", *_LIMITS
)
ACCEPTED = _success("Durable, not yet decided.", _ACCEPTED_EXAMPLE, "Location", "Retry-After", *_LIMITS)
HISTORY = _success("Every change, oldest first.", _HISTORY_EXAMPLE, *_LIMITS)
UNCHANGED = {
    "description": "The order has the version that is known.",
    "headers": _headers("ETag", *_LIMITS),
}
PAGE = _success("A page of orders.", _PAGE_EXAMPLE, "Link", *_LIMITS)
EXPLANATION = _success("What the order waits for.", _EXPLANATION_EXAMPLE, *_LIMITS)
