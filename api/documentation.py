"""The answers of each call as OpenAPI shows them: an example for every success and every problem."""

from http import HTTPStatus
from typing import Any

from api.schemas import ORDER_EXAMPLE, Problem

_ID = ORDER_EXAMPLE["id"]
_REQUEST_ID = "5f0c6f4e-9d0a-4a57-9f0c-0d8b3a1c2e11"

_HEADERS = {
    "ETag": {"description": "The order's version, quoted.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when the command had been carried out before, under the same key.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "The order's address.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
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
    "internal_error": (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The server failed; the log has the cause under this request id",
        {},
    ),
}


def problems(instance: str, *names: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a call may answer with, an example for each, grouped by status."""
    answers: dict[int | str, dict[str, Any]] = {}
    for name in (*names, "internal_error"):
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
        "headers": {name: _HEADERS[name] for name in (*headers, "X-Request-ID")},
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
ORDER = _success("The order.", ORDER_EXAMPLE, "ETag", "Idempotent-Replayed")
CREATED = _success(
    "The order, durable and readable.", ORDER_EXAMPLE, "ETag", "Location", "Idempotent-Replayed"
)
ACCEPTED = _success("Durable, not yet decided.", _ACCEPTED_EXAMPLE, "Location", "Retry-After")
HISTORY = _success("Every change, oldest first.", _HISTORY_EXAMPLE)
UNCHANGED = {"description": "The order has the version that is known.", "headers": {"ETag": _HEADERS["ETag"]}}
PAGE = _success("A page of orders.", _PAGE_EXAMPLE)
