"""Batches that are tried on several tiers before the rest of them runs."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; batches of before have no pilot."""
    op.add_column("batches", sa.Column("pilot", sa.String(length=16)))
    op.add_column("batches", sa.Column("max_quality_loss", sa.Double()))
    op.add_column("batch_plans", sa.Column("pilot", sa.Text()))


def downgrade() -> None:
    """Drop them; what waited for its pilot runs."""
    op.drop_column("batch_plans", "pilot")
    op.drop_column("batches", "max_quality_loss")
    op.drop_column("batches", "pilot")
