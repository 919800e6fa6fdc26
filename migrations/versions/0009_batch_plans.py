"""What was expected of each batch, and what answers cost per model and task type."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UNLEARNED = sa.text("learned_at IS NULL")
_SUMS = (
    "answers",
    "relative_squares",
    "input_tokens",
    "input_bytes",
    "weak",
    "latency_ms",
    "timed",
    "batches",
    "log_mean",
    "log_squares",
    "noise",
)


def upgrade() -> None:
    """Add the two tables; batches of before have no plan."""
    op.create_table(
        "batch_plans",
        sa.Column(
            "batch_number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("batches.number", ondelete="CASCADE", name="fk_batch_plans_batch_number"),
            nullable=False,
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forecast", sa.Text(), nullable=False),
        sa.Column("learned_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("batch_number", name="pk_batch_plans"),
    )
    op.create_index(
        "ix_batch_plans_unlearned",
        "batch_plans",
        ["batch_number"],
        sqlite_where=_UNLEARNED,
        postgresql_where=_UNLEARNED,
    )
    op.create_table(
        "cost_tallies",
        sa.Column(
            "project_id",
            sa.String(length=64),
            sa.ForeignKey("projects.id", ondelete="CASCADE", name="fk_cost_tallies_project_id"),
            nullable=False,
        ),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("task_type", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False, server_default="0") for name in _SUMS),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "model", "task_type", name="pk_cost_tallies"),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("cost_tallies")
    op.drop_index("ix_batch_plans_unlearned", "batch_plans")
    op.drop_table("batch_plans")
