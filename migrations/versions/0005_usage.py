"""What was used per project, day, model and purpose: sums of the cost rows, for looking back."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SUMS = (
    "attempts",
    "without_answer",
    "cost_nusd",
    "unconfirmed_nusd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_BACKFILL = """
    INSERT INTO usage (project_id, day, model, provider, purpose, attempts, without_answer,
        cost_nusd, unconfirmed_nusd, input_tokens, cached_tokens, output_tokens, reasoning_tokens)
    SELECT project_id, day, model, provider, purpose, count(*),
        sum(CASE WHEN status = 'billed' THEN 0 ELSE 1 END), sum(cost_nusd),
        sum(CASE WHEN status = 'unconfirmed' THEN cost_nusd ELSE 0 END),
        sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens)
    FROM attempts WHERE status <> 'open'
    GROUP BY project_id, day, model, provider, purpose
"""


def upgrade() -> None:
    """Add the table, and fill it from the cost rows that are still kept."""
    op.create_table(
        "usage",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in _SUMS),
        sa.PrimaryKeyConstraint(
            "project_id", "day", "model", "provider", "purpose", name="pk_usage"
        ),
    )
    op.create_index("ix_usage_day", "usage", ["day"])
    op.execute(_BACKFILL)


def downgrade() -> None:
    """Drop it; the cost rows it sums up stay."""
    op.drop_table("usage")
