"""Batches whose budget is allotted to all their jobs together, and at what price."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; batches of before have no allotment."""
    op.add_column("batches", sa.Column("optimise", sa.String(length=16)))
    op.add_column("batch_plans", sa.Column("allotment", sa.Text()))
    op.add_column("batch_plans", sa.Column("gain_per_usd", sa.Double()))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("batch_plans", "gain_per_usd")
    op.drop_column("batch_plans", "allotment")
    op.drop_column("batches", "optimise")
