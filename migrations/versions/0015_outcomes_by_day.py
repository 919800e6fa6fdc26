"""Costs by task type, and what became of jobs by day: what a year saved is read from few rows."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_KEY = ("project_id", "day", "model", "provider", "purpose")
_USED = (
    "attempts",
    "without_answer",
    "cost_nusd",
    "unconfirmed_nusd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_LENGTHS = {
    "project_id": 64,
    "day": 10,
    "model": 200,
    "provider": 64,
    "purpose": 16,
    "task_type": 32,
    "tier": 16,
}
_OUTCOMES = (
    "jobs",
    "completed",
    "climbed",
    "rescued",
    "cached",
    "cost_nusd",
    "saved_nusd",
    "strongest_nusd",
)
_UNSUMMED = "summed_at IS NULL AND status IN ('completed', 'failed', 'expired', 'cancelled')"


def upgrade() -> None:
    """Attempts of before are of no task type; the maintenance sums batches of before up."""
    op.add_column(
        "attempts", sa.Column("task_type", sa.String(length=32), nullable=False, server_default="")
    )
    _remake_usage((*_KEY, "task_type"), {"task_type": "''"})
    op.add_column("batches", sa.Column("summed_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_batches_unsummed",
        "batches",
        ["number"],
        sqlite_where=sa.text(_UNSUMMED),
        postgresql_where=sa.text(_UNSUMMED),
    )
    key = ("project_id", "day", "task_type", "model", "tier")
    op.create_table(
        "outcome_days",
        *(_name(name) for name in key),
        *(_sum(name) for name in _OUTCOMES),
        sa.PrimaryKeyConstraint(*key, name="pk_outcome_days"),
    )
    op.create_index("ix_outcome_days_day", "outcome_days", ["day"])


def downgrade() -> None:
    """Costs are summed over task types again."""
    op.drop_table("outcome_days")
    op.drop_index("ix_batches_unsummed", "batches")
    op.drop_column("batches", "summed_at")
    _remake_usage(_KEY, {})
    op.drop_column("attempts", "task_type")


def _remake_usage(key: tuple[str, ...], added: dict[str, str]) -> None:
    """With another primary key, which SQLite cannot give a table that is there."""
    before = ", ".join(name for name in key if name not in added)
    sums = ", ".join(f"sum({name}) AS {name}" for name in _USED)
    op.execute(f"CREATE TABLE usage_before AS SELECT {before}, {sums} FROM usage GROUP BY {before}")
    op.drop_table("usage")
    op.create_table(
        "usage",
        *(_name(name) for name in key),
        *(_sum(name) for name in _USED),
        sa.PrimaryKeyConstraint(*key, name="pk_usage"),
    )
    op.create_index("ix_usage_day", "usage", ["day"])
    names = ", ".join((*key, *_USED))
    values = ", ".join((*(added.get(name, name) for name in key), *_USED))
    op.execute(f"INSERT INTO usage ({names}) SELECT {values} FROM usage_before")
    op.drop_table("usage_before")


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=_LENGTHS[name]), nullable=False)


def _sum(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
