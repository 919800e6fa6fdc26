"""Attempts without an index by status: the open ones are found by the jobs that run."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the index, which every attempt entered and left."""
    op.drop_index("ix_attempts_open", "attempts")


def downgrade() -> None:
    """Make it again."""
    is_open = sa.text("status = 'open'")
    op.create_index(
        "ix_attempts_open", "attempts", ["id"], sqlite_where=is_open, postgresql_where=is_open
    )
