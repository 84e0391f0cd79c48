"""The tables of the projection. `migrations/` creates them; a test holds the two together."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from orders.status import OrderStatus

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_STATUSES = ", ".join(f"'{status}'" for status in OrderStatus)

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    # Without a scale, NUMERIC keeps the decimals that it is given, and currencies differ in them.
    Column("total_amount", Numeric, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"status IN ({_STATUSES})", name="status"),
    CheckConstraint("version >= 1", name="version"),
)
# Every list is read along one of these, in either direction; (created_at, id) is the key of a page.
Index(None, orders.c.created_at, orders.c.id)
Index(None, orders.c.status, orders.c.created_at, orders.c.id)
Index(None, orders.c.customer_id, orders.c.status, orders.c.created_at, orders.c.id)

order_items = Table(
    "order_items",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", ForeignKey("orders.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Numeric, nullable=False),
    UniqueConstraint("order_id", "position"),
    CheckConstraint("quantity >= 1", name="quantity"),
    CheckConstraint("unit_price > 0", name="unit_price"),
)

order_status_history = Table(
    "order_status_history",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", ForeignKey("orders.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("old_status", Text),
    Column("new_status", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text),
    Column("command_id", Text, nullable=False),
    Column("on_behalf_of", Text),
    Column("request_id", Text),
    UniqueConstraint("order_id", "version"),
    CheckConstraint(f"old_status IN ({_STATUSES})", name="old_status"),
    CheckConstraint(f"new_status IN ({_STATUSES})", name="new_status"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the secret: it has 256 random bits, so a slower hash would protect nothing more.
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # A key is never deleted: that there has been one is why the API asks for one.
    Column("revoked_at", DateTime(timezone=True)),
)
