"""The calls on orders."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from api import documentation
from api.bodies import StrictRoute
from api.dispatch import Answer, Dispatcher
from api.documentation import problems
from api.listing import ListQuery, read_page
from api.problems import RETRY_AFTER_SECONDS
from api.schemas import (
    Accepted,
    NewOrderBody,
    OrderHistory,
    OrderPage,
    OrderView,
    StatusBody,
    StatusChangeView,
)
from database import queries
from orders.commands import ChangeStatus
from orders.lifecycle import validate
from orders.names import idempotent_command_id, idempotent_order_id
from orders.order import Order
from orders.status import OrderStatus

router = APIRouter(prefix="/orders", tags=["orders"], route_class=StrictRoute)

# Where nobody says who changes an order.
ANONYMOUS = "api"

_UNAVAILABLE = ("temporal_unavailable", "database_unavailable")


def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return dispatcher


def _engine(request: Request) -> AsyncEngine:
    engine: AsyncEngine = request.app.state.engine
    return engine


def _wants_to_wait(
    prefer: Annotated[
        list[str],
        Header(description="`respond-async` asks for 202 at once instead of the outcome (RFC 7240)."),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> bool:
    preferences = {preference.strip().lower() for line in prefer for preference in line.split(",")}
    return "respond-async" not in preferences


Dispatch = Annotated[Dispatcher, Depends(_dispatcher)]
Projection = Annotated[AsyncEngine, Depends(_engine)]
Wait = Annotated[bool, Depends(_wants_to_wait)]


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="Makes a retry safe: the same key and body are carried out once.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=255, description="The `ETag` of the version to change; else 412."),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1_000, description="The `ETag` of a version known; then 304."),
]


def _expected_version(if_match: str | None) -> int | None:
    """The version that a client wants to change; one that no order has where the tag is none of ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = _OUR_ETAG.fullmatch(if_match.strip())
    return int(tag[1]) if tag else 0


_OUR_ETAG = re.compile('"([0-9]{1,9})"')


def _command_id(order_id: UUID, key: str | None) -> str:
    return str(uuid4()) if key is None else idempotent_command_id(order_id, ANONYMOUS, key)


def _both_slashes(
    method: str,
    path: str,
    **options: Any,  # noqa: ANN401 - FastAPI's own
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Serve a call with and without the last slash, and document it once."""

    def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        router.add_api_route(path, endpoint, methods=[method], **options)
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        router.add_api_route(other, endpoint, methods=[method], **options | {"include_in_schema": False})
        return endpoint

    return decorate


@_both_slashes(
    "POST",
    "/",
    summary="Place an order",
    status_code=HTTPStatus.CREATED,
    response_model=OrderView,
    responses={
        201: documentation.CREATED,
        202: documentation.ACCEPTED | {"model": Accepted},
        **problems(
            "/orders/",
            "malformed_body",
            "limit_exceeded",
            "invalid_request",
            "command_id_reused",
            *_UNAVAILABLE,
        ),
    },
)
async def place_order(
    body: NewOrderBody, dispatch: Dispatch, wait: Wait, key: IdempotencyKey = None
) -> Response:
    """Answer 201 once the order is durable in Temporal and readable here, 202 when only the former."""
    command = body.command(order_id=uuid7() if key is None else idempotent_order_id(ANONYMOUS, key))
    validate(command)
    answer = await dispatch.find_placed(command) if key is not None else None
    answer = answer or await dispatch.place(command, wait=wait)
    if answer is None:
        return _accepted(command.order_id, command_id=str(command.order_id))
    return _order(answer, HTTPStatus.CREATED, Location=f"/orders/{answer.order.id}")


@_both_slashes(
    "GET",
    "/",
    summary="List orders",
    response_model=OrderPage,
    responses={200: documentation.PAGE, **problems("/orders/", "invalid_request", "database_unavailable")},
)
async def list_orders(query: Annotated[ListQuery, Query()], engine: Projection) -> Response:
    """List orders, newest first unless sorted otherwise, by page or, for long walks, by cursor.

    A page has an exact `total`; a cursor costs the same at any depth, and neither skips nor repeats an
    order that was there from the start, whatever arrives or changes meanwhile.
    """
    page = await read_page(query, engine)
    return Response(page.model_dump_json(), media_type="application/json")


@_both_slashes(
    "GET",
    "/{order_id}",
    summary="Read an order",
    response_model=OrderView,
    responses={
        200: documentation.ORDER,
        304: documentation.UNCHANGED,
        **problems(
            "/orders/{order_id}",
            "order_not_found",
            "invalid_request",
            "not_yet_readable",
            *_UNAVAILABLE,
        ),
    },
)
async def get_order(
    order_id: UUID, engine: Projection, dispatch: Dispatch, known: IfNoneMatch = None
) -> Response:
    """Read an order from the projection, or from its workflow where the projection is behind."""
    order = await queries.get_order(engine, order_id)
    if order is None:
        order = (await dispatch.read(order_id)).order
    answer = Answer(order=order, replayed=False)
    if known is not None and _is_known(order, known):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": _etag(order)})
    return _order(answer)


@_both_slashes(
    "GET",
    "/{order_id}/history",
    summary="Read an order's history",
    response_model=OrderHistory,
    responses={
        200: documentation.HISTORY,
        **problems(
            "/orders/{order_id}/history",
            "order_not_found",
            "invalid_request",
            "not_yet_readable",
            *_UNAVAILABLE,
        ),
    },
)
async def get_history(order_id: UUID, engine: Projection, dispatch: Dispatch) -> Response:
    """List every change that the order has been through, oldest first."""
    history = await queries.get_history(engine, order_id)
    if not history:
        history = (await dispatch.read(order_id)).history
    view = OrderHistory(order_id=order_id, history=[StatusChangeView.of(change) for change in history])
    return Response(view.model_dump_json(), media_type="application/json")


@_both_slashes(
    "PUT",
    "/{order_id}/status",
    summary="Change an order's status",
    response_model=OrderView,
    responses={
        200: documentation.ORDER,
        202: documentation.ACCEPTED | {"model": Accepted},
        **problems(
            "/orders/{order_id}/status",
            "malformed_body",
            "order_not_found",
            "invalid_transition",
            "version_mismatch",
            "invalid_request",
            "command_id_reused",
            "workflow_missing",
            *_UNAVAILABLE,
        ),
    },
)
async def change_status(  # noqa: PLR0913, PLR0917 - the call has these
    order_id: UUID,
    body: StatusBody,
    dispatch: Dispatch,
    wait: Wait,
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Move an order on. The order's workflow decides whether it may."""
    command = ChangeStatus(
        command_id=_command_id(order_id, key),
        status=body.status,
        changed_by=body.changed_by,
        reason=body.reason,
        expected_version=_expected_version(if_match),
    )
    return await _change(order_id, command, dispatch, wait=wait)


@_both_slashes(
    "DELETE",
    "/{order_id}",
    summary="Cancel an order",
    response_model=OrderView,
    responses={
        200: documentation.ORDER,
        202: documentation.ACCEPTED | {"model": Accepted},
        **problems(
            "/orders/{order_id}",
            "order_not_found",
            "cannot_cancel",
            "version_mismatch",
            "invalid_request",
            "command_id_reused",
            "workflow_missing",
            *_UNAVAILABLE,
        ),
    },
)
async def cancel_order(
    order_id: UUID, dispatch: Dispatch, wait: Wait, key: IdempotencyKey = None, if_match: IfMatch = None
) -> Response:
    """Cancel an order, which only a PENDING one allows. The cancelled order stays readable."""
    command = ChangeStatus(
        command_id=_command_id(order_id, key),
        status=OrderStatus.CANCELLED,
        changed_by=ANONYMOUS,
        expected_version=_expected_version(if_match),
    )
    return await _change(order_id, command, dispatch, wait=wait)


async def _change(order_id: UUID, command: ChangeStatus, dispatch: Dispatcher, *, wait: bool) -> Response:
    answer = await dispatch.change(order_id, command, wait=wait)
    if answer is None:
        return _accepted(order_id, command.command_id)
    return _order(answer)


def _order(answer: Answer, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(
        OrderView.of(answer.order).model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers={"ETag": _etag(answer.order), **headers},
    )


def _etag(order: Order) -> str:
    return f'"{order.version}"'


def _is_known(order: Order, if_none_match: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or _etag(order) in tags


def _accepted(order_id: UUID, command_id: str) -> Response:
    body = Accepted(
        order_id=order_id,
        command_id=command_id,
        detail="The command is durable and will be decided; look at the order for the outcome",
    )
    return Response(
        body.model_dump_json(),
        status_code=HTTPStatus.ACCEPTED,
        media_type="application/json",
        headers={"Location": f"/orders/{order_id}", "Retry-After": str(RETRY_AFTER_SECONDS)},
    )
