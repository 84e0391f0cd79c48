"""The calls on orders."""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from api import documentation
from api.asking import Asked, Asking, ExpectedVersion
from api.dispatch import Answer, Dispatcher
from api.documentation import problems
from api.explanation import explain
from api.guard import GuardedRoute, needs
from api.keys import Scope
from api.listing import ListQuery, read_listing
from api.problems import RETRY_AFTER_SECONDS
from api.reader import Reader
from api.schemas import (
    Accepted,
    Explanation,
    NewOrderBody,
    OrderHistory,
    OrderId,
    OrderPage,
    OrderView,
    StatusBody,
    StatusChangeView,
)
from orders.commands import ChangeStatus
from orders.lifecycle import validate
from orders.order import Order
from orders.status import OrderStatus

router = APIRouter(prefix="/orders", tags=["orders"], route_class=GuardedRoute)


# Dependencies are coroutines: FastAPI runs a plain function in a thread, which costs more than most answers.


async def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return replace(dispatcher, commands=dispatcher.commands.by(request.state.counted_as))


Dispatch = Annotated[Dispatcher, Depends(_dispatcher)]


async def _reader(request: Request) -> Reader:
    reader: Reader = request.app.state.dispatcher.reader
    return reader


async def _engine(request: Request) -> AsyncEngine:
    engine: AsyncEngine = request.app.state.engine
    return engine


Read = Annotated[Reader, Depends(_reader)]
Projection = Annotated[AsyncEngine, Depends(_engine)]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1_000, description="The `ETag` of a version known; then 304."),
]


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
    **needs(Scope.WRITE),
    status_code=HTTPStatus.CREATED,
    response_model=OrderView,
    responses={
        200: documentation.FORESEEN | {"model": OrderView},
        201: documentation.CREATED,
        202: documentation.ACCEPTED | {"model": Accepted},
        **problems(
            "/orders/",
            *documentation.BODY_PROBLEMS,
            "limit_exceeded",
            "invalid_request",
            "command_id_reused",
            "temporal_unavailable",
        ),
    },
)
async def place_order(body: NewOrderBody, asked: Asked, dispatch: Dispatch) -> Response:
    """Answer 201 once the order is durable in Temporal and readable here, 202 when only the former."""
    command = asked.to_place(body)
    validate(command)
    answer = await dispatch.find_placed(command) if asked.key is not None else None
    if asked.dry_run:
        return _foreseen(answer or await dispatch.foresee_place(command))
    answer = answer or await dispatch.place(command, wait=asked.wait)
    if answer is None:
        return _accepted(command.order_id, command_id=str(command.order_id))
    return _order(answer, HTTPStatus.CREATED, Location=f"/orders/{answer.order.id}")


@_both_slashes(
    "GET",
    "/",
    summary="List orders",
    **needs(Scope.READ),
    response_model=OrderPage,
    responses={200: documentation.PAGE, **problems("/orders/", "invalid_request")},
)
async def list_orders(query: Annotated[ListQuery, Query()], engine: Projection) -> Response:
    """List orders, newest first unless sorted otherwise, by page or, for long walks, by cursor.

    Where orders are so large that a page would have more than 25,500 lines, it is a 422: ask for fewer at
    once. A page has an exact `total`. A cursor costs the same at any depth, and following cursors neither
    skips nor repeats an order that was there from the start, whatever arrives or changes meanwhile; only
    where the list is narrowed to a `status`, an order that takes or leaves it on the way may be missed.
    `Link` (RFC 8288) leads to the pages around this one.
    """
    listing = await read_listing(query, engine)
    return Response(
        listing.page.model_dump_json(), media_type="application/json", headers={"Link": listing.link}
    )


@_both_slashes(
    "GET",
    "/{order_id}",
    summary="Read an order",
    **needs(Scope.READ),
    response_model=OrderView,
    responses={
        200: documentation.ORDER,
        304: documentation.UNCHANGED,
        **problems(
            "/orders/{order_id}",
            "order_not_found",
            "invalid_request",
            "not_yet_readable",
            "temporal_unavailable",
        ),
    },
)
async def get_order(order_id: OrderId, reader: Read, known: IfNoneMatch = None) -> Response:
    """Read an order from the projection, or from its workflow where the projection is behind."""
    order = await reader.order(order_id)
    answer = Answer(order=order, replayed=False)
    if known is not None and _is_known(order, known):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": _etag(order)})
    return _order(answer)


@_both_slashes(
    "GET",
    "/{order_id}/history",
    summary="Read an order's history",
    **needs(Scope.READ),
    response_model=OrderHistory,
    responses={
        200: documentation.HISTORY,
        **problems(
            "/orders/{order_id}/history",
            "order_not_found",
            "invalid_request",
            "not_yet_readable",
            "temporal_unavailable",
        ),
    },
)
async def get_history(order_id: OrderId, reader: Read) -> Response:
    """List every change that the order has been through, oldest first."""
    history = await reader.history(order_id)
    view = OrderHistory(order_id=order_id, history=[StatusChangeView.of(change) for change in history])
    return Response(view.model_dump_json(), media_type="application/json")


@_both_slashes(
    "GET",
    "/{order_id}/explain",
    summary="Explain what an order waits for",
    **needs(Scope.OPERATE),
    response_model=Explanation,
    responses={
        200: documentation.EXPLANATION,
        **problems(
            "/orders/{order_id}/explain", "order_not_found", "invalid_request", "temporal_unavailable"
        ),
    },
)
async def explain_order(order_id: OrderId, reader: Read, request: Request) -> Response:
    """Say what an order waits for: a worker, a database, the promotion, a command; and what it refused.

    `rejections` has the commands that reached the order's workflow; what the API refused was never sent.
    """
    found = await reader.inspect(order_id)
    explanation = explain(order_id, found, ui_url=request.app.state.settings.temporal_ui_url)
    return Response(explanation.model_dump_json(), media_type="application/json")


@_both_slashes(
    "PUT",
    "/{order_id}/status",
    summary="Change an order's status",
    **needs(Scope.OPERATE),
    response_model=OrderView,
    responses={
        200: documentation.ORDER,
        202: documentation.ACCEPTED | {"model": Accepted},
        **problems(
            "/orders/{order_id}/status",
            *documentation.BODY_PROBLEMS,
            "order_not_found",
            "invalid_transition",
            "version_mismatch",
            "invalid_request",
            "command_id_reused",
            "workflow_missing",
            "not_yet_readable",
            "temporal_unavailable",
        ),
    },
)
async def change_status(
    order_id: OrderId, body: StatusBody, asked: Asked, version: ExpectedVersion, dispatch: Dispatch
) -> Response:
    """Move an order on. The order's workflow decides whether it may."""
    command = asked.to_change(order_id, body.status, version, body.changed_by, body.reason)
    return await _change(order_id, command, asked, dispatch)


@_both_slashes(
    "DELETE",
    "/{order_id}",
    summary="Cancel an order",
    **needs(Scope.WRITE),
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
            "not_yet_readable",
            "temporal_unavailable",
        ),
    },
)
async def cancel_order(
    order_id: OrderId, asked: Asked, version: ExpectedVersion, dispatch: Dispatch
) -> Response:
    """Cancel an order, which only a PENDING one allows. The cancelled order stays readable."""
    command = asked.to_change(order_id, OrderStatus.CANCELLED, version)
    return await _change(order_id, command, asked, dispatch)


async def _change(order_id: UUID, command: ChangeStatus, asked: Asking, dispatch: Dispatcher) -> Response:
    if asked.dry_run:
        return _foreseen(await dispatch.foresee(order_id, command))
    # Who waits is told by `change`.
    done = (
        await dispatch.find_changed(order_id, command) if asked.key is not None and not asked.wait else None
    )
    answer = done or await dispatch.change(order_id, command, wait=asked.wait)
    if answer is None:
        return _accepted(order_id, command.command_id)
    return _order(answer)


def _foreseen(answer: Answer) -> Response:
    """What would happen: no version to match, and no address, because nothing is there."""
    body = OrderView.of(answer.order).model_dump_json()
    return Response(body, media_type="application/json")


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
