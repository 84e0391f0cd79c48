"""orders, their items and their history."""

from alembic import op
import sqlalchemy as sa

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('orders',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('total_amount', sa.Numeric(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("status IN ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED')", name=op.f('ck_orders_status')),
    sa.CheckConstraint('version >= 1', name=op.f('ck_orders_version')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_orders'))
    )
    op.create_index(op.f('ix_orders_created_at_id'), 'orders', ['created_at', 'id'], unique=False)
    op.create_index(op.f('ix_orders_customer_id_created_at_id'), 'orders', ['customer_id', 'created_at', 'id'], unique=False)
    op.create_index(op.f('ix_orders_status_created_at_id'), 'orders', ['status', 'created_at', 'id'], unique=False)
    op.create_table('order_items',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('order_id', sa.Uuid(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('product_id', sa.Text(), nullable=False),
    sa.Column('quantity', sa.Integer(), nullable=False),
    sa.Column('unit_price', sa.Numeric(), nullable=False),
    sa.CheckConstraint('quantity >= 1', name=op.f('ck_order_items_quantity')),
    sa.CheckConstraint('unit_price > 0', name=op.f('ck_order_items_unit_price')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_order_items_orders')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_order_items')),
    sa.UniqueConstraint('order_id', 'position', name=op.f('uq_order_items_order_id_position'))
    )
    op.create_table('order_status_history',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('order_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('old_status', sa.Text(), nullable=True),
    sa.Column('new_status', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_by', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('command_id', sa.Text(), nullable=False),
    sa.CheckConstraint("new_status IN ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED')", name=op.f('ck_order_status_history_new_status')),
    sa.CheckConstraint("old_status IN ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED')", name=op.f('ck_order_status_history_old_status')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_order_status_history_orders')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_order_status_history')),
    sa.UniqueConstraint('order_id', 'version', name=op.f('uq_order_status_history_order_id_version'))
    )


def downgrade() -> None:
    op.drop_table('order_status_history')
    op.drop_table('order_items')
    op.drop_index(op.f('ix_orders_status_created_at_id'), table_name='orders')
    op.drop_index(op.f('ix_orders_customer_id_created_at_id'), table_name='orders')
    op.drop_index(op.f('ix_orders_created_at_id'), table_name='orders')
    op.drop_table('orders')
