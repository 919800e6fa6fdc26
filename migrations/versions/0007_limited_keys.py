"""What API keys with limits have spent, and which batches draw on them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LIMITED = sa.text("key_id IS NOT NULL")


def upgrade() -> None:
    """Add the columns and the index by which a key's batches are found."""
    op.add_column(
        "api_keys", sa.Column("pruned_nusd", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("batches", sa.Column("key_id", sa.String(length=40)))
    op.add_column("batches", sa.Column("counted_tokens", sa.BigInteger()))
    op.create_index(
        "ix_batches_key",
        "batches",
        ["key_id", "created_at"],
        sqlite_where=_LIMITED,
        postgresql_where=_LIMITED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_batches_key", "batches")
    op.drop_column("batches", "counted_tokens")
    op.drop_column("batches", "key_id")
    op.drop_column("api_keys", "pruned_nusd")
