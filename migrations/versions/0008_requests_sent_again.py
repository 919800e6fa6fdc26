"""The index by which a request that is sent again finds the batch it has made."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_batches_content", "batches", ["content_sha256"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_batches_content", "batches")
