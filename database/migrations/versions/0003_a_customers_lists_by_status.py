"""A customer's lists are read along the status, too; the index without it has nothing left to do."""

from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Made beforehand where orders are too many to wait for it: see docs/releases.md.
    op.create_index(
        op.f('ix_orders_customer_id_status_created_at_id'),
        'orders',
        ['customer_id', 'status', 'created_at', 'id'],
        if_not_exists=True,
    )
    op.drop_index(op.f('ix_orders_customer_id_created_at_id'), 'orders')


def downgrade() -> None:
    op.create_index(
        op.f('ix_orders_customer_id_created_at_id'), 'orders', ['customer_id', 'created_at', 'id']
    )
    op.drop_index(op.f('ix_orders_customer_id_status_created_at_id'), 'orders')
