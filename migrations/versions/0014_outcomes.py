"""What became of answers, per model and task type, and what people said of them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_UNLEARNED = sa.text("learned_score IS NULL OR learned_score <> score")
_SUMS = ("good", "bad", "agreed", "differed", "passed", "refused", "difficulties", "seen")


def upgrade() -> None:
    """Add the two tables; answers of before are learned from by nobody."""
    op.create_table(
        "outcome_tallies",
        sa.Column(
            "project_id",
            sa.String(length=64),
            sa.ForeignKey("projects.id", ondelete="CASCADE", name="fk_outcome_tallies_project_id"),
            nullable=False,
        ),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("task_type", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False, server_default="0") for name in _SUMS),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "model", "task_type", name="pk_outcome_tallies"),
    )
    op.create_table(
        "feedback",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "project_id",
            sa.String(length=64),
            sa.ForeignKey("projects.id", ondelete="CASCADE", name="fk_feedback_project_id"),
            nullable=False,
        ),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("task_type", sa.String(length=32), nullable=False),
        sa.Column("difficulty", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("learned_score", sa.Double()),
        sa.PrimaryKeyConstraint("job_id", name="pk_feedback"),
    )
    op.create_index(
        "ix_feedback_unlearned",
        "feedback",
        ["job_id"],
        sqlite_where=_UNLEARNED,
        postgresql_where=_UNLEARNED,
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_feedback_unlearned", "feedback")
    op.drop_table("feedback")
    op.drop_table("outcome_tallies")
