"""How far a retry has put a batch's failed jobs back into the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("batches", sa.Column("retry_at_line", sa.Integer()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("batches", "retry_at_line")
