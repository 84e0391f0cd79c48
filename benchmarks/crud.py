"""The peer: the same API without workflows, as one would write it otherwise.

    python -m benchmarks.crud --port P [--processes N]

FastAPI, SQLAlchemy's ORM and PostgreSQL, with tables of its own in a database of its own, at DATABASE_URL. A
request is one transaction, and that is all the durability that there is: a retry is carried out twice, and
there is nobody to go on with what a crash has ended.
"""

import argparse
import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import joinedload
from uuid_utils.compat import uuid7

import process
from api.schemas import Health, OrderHistory, OrderPage, OrderView
from benchmarks.bare import listen, say_serving, serve_app
from benchmarks.crud_tables import Change, Item, Order, create_tables
from database.engine import create_engine
from logs import configure_logs
from orders.errors import InvalidTransition, OrderNotFound
from orders.status import OrderStatus
from settings import load_settings

logger = logging.getLogger("benchmarks.crud")

# What is asked and answered. The answers are the product's.

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Amount = Annotated[
    Decimal,
    Field(gt=0, le=1_000_000_000, decimal_places=2),
    AfterValidator(lambda amount: amount.quantize(Decimal("0.01"))),
]


class NewItem(BaseModel):
    """One line of a new order."""

    product_id: Name
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit_price: Amount


class NewOrder(BaseModel):
    """A new order."""

    customer_id: Name
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] = "USD"
    items: Annotated[list[NewItem], Field(min_length=1, max_length=500)]


class NewStatus(BaseModel):
    """A change of status."""

    status: OrderStatus
    changed_by: Name = "api"
    reason: Annotated[str | None, Field(max_length=1_000)] = None


class ListQuery(BaseModel):
    """Which orders, newest first, and which page of them: by number with a total, or after a cursor."""

    status: list[OrderStatus] = []
    customer_id: str | None = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    cursor: str | None = None


# What is done.

Sessions = async_sessionmaker[AsyncSession]


async def _reading(request: Request) -> Sessions:
    """Sessions of single statements, each of which PostgreSQL ends by itself."""
    sessions: Sessions = request.app.state.reading
    return sessions


async def _writing(request: Request) -> Sessions:
    """Sessions of one transaction."""
    sessions: Sessions = request.app.state.writing
    return sessions


Reading = Annotated[Sessions, Depends(_reading)]
Writing = Annotated[Sessions, Depends(_writing)]

router = APIRouter()

# Built once, because building one is a good part of what a read by id costs.
_ORDERS = select(Order).options(joinedload(Order.items, innerjoin=True))
_ORDER = _ORDERS.where(Order.id == bindparam("order_id"))
_LOCKED_ORDER = _ORDER.with_for_update(of=Order)
_HISTORY = select(Change).where(Change.order_id == bindparam("order_id")).order_by(Change.version)


@router.post("/orders/", status_code=HTTPStatus.CREATED, response_model=OrderView)
async def place_order(body: NewOrder, writing: Writing) -> Order:
    """Place an order."""
    now = datetime.now(UTC)
    order = Order(
        id=uuid7(),
        customer_id=body.customer_id,
        status=OrderStatus.PENDING,
        currency=body.currency,
        total_amount=sum(item.quantity * item.unit_price for item in body.items),
        version=1,
        created_at=now,
        updated_at=now,
        items=[Item(position=position, **item.model_dump()) for position, item in enumerate(body.items)],
        history=[Change(version=1, new_status=OrderStatus.PENDING, changed_at=now, changed_by="api")],
    )
    async with writing.begin() as session:
        session.add(order)
    return order


@router.get("/orders/", response_model=OrderPage)
async def list_orders(query: Annotated[ListQuery, Query()], reading: Reading) -> dict[str, Any]:
    """List orders."""
    conditions: list[ColumnElement[bool]] = []
    if query.status:
        conditions.append(Order.status.in_(query.status))
    if query.customer_id is not None:
        conditions.append(Order.customer_id == query.customer_id)
    orders = (
        _ORDERS.where(*conditions).order_by(Order.created_at.desc(), Order.id.desc()).limit(query.limit + 1)
    )
    total = page = None
    async with reading() as session:
        if query.cursor is not None:
            orders = orders.where(tuple_(Order.created_at, Order.id) < tuple_(*_read_cursor(query.cursor)))
        else:
            page = query.page
            orders = orders.offset((page - 1) * query.limit)
            total = await session.scalar(select(func.count()).select_from(Order).where(*conditions))
        found = (await session.scalars(orders)).unique().all()
    shown, has_next = found[: query.limit], len(found) > query.limit
    return {
        "orders": shown,
        "total": total,
        "page": page,
        "limit": query.limit,
        "has_next": has_next,
        "has_prev": page != 1,
        "next_cursor": _cursor(shown[-1]) if has_next else None,
    }


@router.get("/orders/{order_id}", response_model=OrderView)
async def get_order(order_id: UUID, reading: Reading) -> Order:
    """Read an order."""
    async with reading() as session:
        return await _find(session, _ORDER, order_id)


@router.get("/orders/{order_id}/history", response_model=OrderHistory)
async def get_history(order_id: UUID, reading: Reading) -> dict[str, Any]:
    """List every change that an order has been through, oldest first."""
    async with reading() as session:
        history = (await session.scalars(_HISTORY, {"order_id": order_id})).all()
    if not history:
        raise OrderNotFound(str(order_id))
    return {"order_id": order_id, "history": history}


@router.put("/orders/{order_id}/status", response_model=OrderView)
async def change_status(order_id: UUID, body: NewStatus, writing: Writing) -> Order:
    """Move an order on."""
    return await _change(order_id, body, writing)


@router.delete("/orders/{order_id}", response_model=OrderView)
async def cancel_order(order_id: UUID, writing: Writing) -> Order:
    """Cancel an order."""
    return await _change(order_id, NewStatus(status=OrderStatus.CANCELLED), writing)


@router.get("/health", response_model_exclude_none=True)
async def health() -> Health:
    """Answer as long as the process does."""
    return Health(status="healthy", service="crud", version="1")


async def _change(order_id: UUID, wanted: NewStatus, writing: Sessions) -> Order:
    async with writing.begin() as session:
        order = await _find(session, _LOCKED_ORDER, order_id)
        if wanted.status not in order.allowed_transitions:
            raise InvalidTransition(order.status, wanted.status)
        # The clock may be behind that of the process that made the last change.
        now = max(datetime.now(UTC), order.updated_at)
        change = Change(
            order_id=order.id,
            version=order.version + 1,
            old_status=order.status,
            new_status=wanted.status,
            changed_at=now,
            changed_by=wanted.changed_by,
            reason=wanted.reason,
        )
        session.add(change)
        order.status, order.version, order.updated_at = change.new_status, change.version, now
    return order


async def _find(session: AsyncSession, statement: Select[Order], order_id: UUID) -> Order:
    found = (await session.scalars(statement, {"order_id": order_id})).unique().one_or_none()
    if found is None:
        raise OrderNotFound(str(order_id))
    return found


def _cursor(order: Order) -> str:
    return base64.urlsafe_b64encode(f"{order.created_at.isoformat()} {order.id}".encode()).decode()


def _read_cursor(text: str) -> tuple[datetime, UUID]:
    try:
        created_at, order_id = base64.urlsafe_b64decode(text).decode().split(" ")
        return datetime.fromisoformat(created_at), UUID(order_id)
    except ValueError:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is not a cursor") from None


async def promote(writing: Sessions) -> None:
    """Move every PENDING order on to PROCESSING; where another process is at it, leave it to that one."""
    now = datetime.now(UTC)
    moved = (
        update(Order)
        .where(Order.status == OrderStatus.PENDING)
        .values(status=OrderStatus.PROCESSING, version=Order.version + 1, updated_at=now)
        .returning(Order.id, Order.version)
        .cte("moved")
    )
    changes = select(
        func.gen_random_uuid(),
        moved.c.id,
        moved.c.version,
        literal(OrderStatus.PENDING.value),
        literal(OrderStatus.PROCESSING.value),
        literal(now),
        literal("promotion"),
    )
    columns = ["id", "order_id", "version", "old_status", "new_status", "changed_at", "changed_by"]
    async with writing.begin() as session:
        if await session.scalar(select(func.pg_try_advisory_xact_lock(_PROMOTION_LOCK))):
            await session.execute(insert(Change).from_select(columns, changes))


_PROMOTION_LOCK = 1


async def _promote_for_ever(writing: Sessions, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            await promote(writing)
        except (OSError, SQLAlchemyError):
            logger.exception("The promotion failed; it runs again in %g seconds", interval)


# How it is put together.


def create_app() -> FastAPI:
    """The application of one process, as the environment says."""
    settings = load_settings()
    configure_logs(settings, process="crud")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        engine = create_engine(settings, application_name="crud")
        app.state.reading = async_sessionmaker(engine, expire_on_commit=False)
        app.state.writing = async_sessionmaker(
            engine.execution_options(isolation_level="READ COMMITTED"), expire_on_commit=False
        )
        promoting = asyncio.create_task(_promote_for_ever(app.state.writing, settings.promotion_interval))
        yield
        promoting.cancel()
        await engine.dispose()

    app = FastAPI(title="Orders without workflows", lifespan=lifespan)
    app.include_router(router)
    app.add_exception_handler(OrderNotFound, partial(_refuse, HTTPStatus.NOT_FOUND))
    app.add_exception_handler(InvalidTransition, partial(_refuse, HTTPStatus.CONFLICT))
    return app


async def _refuse(status: HTTPStatus, _: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=status)


async def serve(port: int) -> None:
    """Create the tables, and serve until SIGTERM or Ctrl-C."""
    stop = process.stop_requested()
    listening = listen(port)
    await create_tables(create_engine(load_settings(), application_name="crud"))
    say_serving("crud", listening)
    await serve_app(create_app(), listening, stop)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and the environment, and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crud", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    process.run("crud", partial(serve, parser.parse_args(arguments).port))


if __name__ == "__main__":
    main()
