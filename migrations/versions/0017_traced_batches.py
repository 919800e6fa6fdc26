"""The trace that a batch belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("batches", sa.Column("traceparent", sa.String(length=55)))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("batches", "traceparent")
