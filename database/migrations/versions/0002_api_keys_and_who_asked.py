"""API keys, and in the history whom a change was for and which request brought it."""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('api_keys',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys'))
    )
    op.add_column('order_status_history', sa.Column('on_behalf_of', sa.Text(), nullable=True))
    op.add_column('order_status_history', sa.Column('request_id', sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column('order_status_history', 'request_id')
    op.drop_column('order_status_history', 'on_behalf_of')
    op.drop_table('api_keys')
