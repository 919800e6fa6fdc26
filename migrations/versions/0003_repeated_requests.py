"""What is kept of requests asked again: the project's cache, duplicates within a batch, and
the money both save. Also the endpoint a batch's lines are for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CHAT = "/v1/chat/completions"
_WAS_STAGEABLE = "status = 'queued' AND lease_until IS NULL"
_STAGEABLE = f"{_WAS_STAGEABLE} AND duplicate_of IS NULL"
_FOLLOWING = "duplicate_of IS NOT NULL AND status = 'queued'"


def upgrade() -> None:
    """Add columns, and keep duplicates out of what the stager looks through."""
    op.add_column("projects", sa.Column("cache_ttl_s", sa.Integer()))
    op.add_column("projects", sa.Column("cache_name", sa.String(length=32)))
    op.add_column(
        "batches", sa.Column("duplicates", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "batches",
        sa.Column("endpoint", sa.String(length=64), nullable=False, server_default=_CHAT),
    )
    op.add_column("jobs", sa.Column("duplicate_of", sa.BigInteger()))
    op.add_column("results", sa.Column("duplicate_of", sa.BigInteger()))
    op.add_column(
        "results", sa.Column("saved_nusd", sa.BigInteger(), nullable=False, server_default="0")
    )
    _stageable(_STAGEABLE)
    op.create_index(
        "ix_jobs_following",
        "jobs",
        ["duplicate_of", "id"],
        sqlite_where=sa.text(_FOLLOWING),
        postgresql_where=sa.text(_FOLLOWING),
    )


def downgrade() -> None:
    """Drop them; a duplicate that still waits is asked like any other job from then on."""
    op.drop_index("ix_jobs_following", "jobs")
    _stageable(_WAS_STAGEABLE)
    op.drop_column("results", "saved_nusd")
    op.drop_column("results", "duplicate_of")
    op.drop_column("jobs", "duplicate_of")
    op.drop_column("batches", "endpoint")
    op.drop_column("batches", "duplicates")
    op.drop_column("projects", "cache_name")
    op.drop_column("projects", "cache_ttl_s")


def _stageable(where: str) -> None:
    op.drop_index("ix_jobs_stageable", "jobs")
    op.create_index(
        "ix_jobs_stageable",
        "jobs",
        ["id"],
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
