"""What the service without workflows keeps, in tables of its own."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import DateTime, ForeignKey, Index, Numeric, Text, UniqueConstraint, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from database import tables
from orders.status import TRANSITIONS, OrderStatus
from settings import ConfigurationError


class Base(DeclarativeBase):
    """The tables; their names are not the product's, so that neither is taken for the other."""

    type_annotation_map = {str: Text, datetime: DateTime(timezone=True), Decimal: Numeric}  # noqa: RUF012


class Item(Base):
    """One line of an order."""

    __tablename__ = "crud_items"
    __table_args__ = (UniqueConstraint("order_id", "position"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("crud_orders.id"))
    position: Mapped[int]
    product_id: Mapped[str]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]


class Change(Base):
    """One transition of an order, its placing included."""

    __tablename__ = "crud_history"
    __table_args__ = (UniqueConstraint("order_id", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("crud_orders.id"))
    version: Mapped[int]
    old_status: Mapped[str | None]
    new_status: Mapped[str]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]
    reason: Mapped[str | None]

    @property
    def command_id(self) -> str:
        """What the product calls the command; here, every request is another one."""
        return str(self.id)


class Order(Base):
    """An order as it stands."""

    __tablename__ = "crud_orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    status: Mapped[str]
    currency: Mapped[str]
    total_amount: Mapped[Decimal]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    items: Mapped[list[Item]] = relationship(order_by=Item.position, lazy="raise")
    history: Mapped[list[Change]] = relationship(lazy="raise")

    @property
    def allowed_transitions(self) -> tuple[OrderStatus, ...]:
        """Every status that the order may move to next."""
        return TRANSITIONS[OrderStatus(self.status)]


Index(None, Order.created_at, Order.id)
Index(None, Order.status, Order.created_at, Order.id)
Index(None, Order.customer_id, Order.created_at, Order.id)


async def create_tables(engine: AsyncEngine) -> None:
    """Create what is missing.

    Raises:
        ConfigurationError: the database cannot be reached, or is the product's.
    """
    try:
        async with engine.connect() as connection:
            there = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
            if theirs := sorted(there & tables.metadata.tables.keys()):
                raise ConfigurationError(
                    f"DATABASE_URL: that database is the product's: it has {', '.join(theirs)}"
                )
            await connection.run_sync(Base.metadata.create_all)
    except (OSError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise ConfigurationError(f"DATABASE_URL: {reason}") from None
    finally:
        await engine.dispose()
