"""The tokens that a batch has used, beside its cost."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_LINES = 1 << 24  # a job's id is its batch's number times this, and its line


def upgrade() -> None:
    """Add the columns; sum up what the attempts that are still there have used."""
    for name in _TOKENS:
        op.add_column(
            "batches", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    sums = ", ".join(f"{name} = used.{name}" for name in _TOKENS)
    of_jobs = ", ".join(f"sum({name}) AS {name}" for name in _TOKENS)
    op.execute(
        f"UPDATE batches SET {sums} FROM (SELECT job_id / {_LINES} AS number, {of_jobs} "
        f"FROM attempts GROUP BY job_id / {_LINES}) AS used WHERE used.number = batches.number"
    )


def downgrade() -> None:
    """Drop them."""
    for name in _TOKENS:
        op.drop_column("batches", name)
