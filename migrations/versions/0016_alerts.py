"""What somebody should look at, and who was told of it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "alerts",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("project_id", sa.String(length=64)),
        sa.Column("message", sa.String(length=500), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("raised_at", moment),
        sa.Column("gone_since", moment),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("tell_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_alerts"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("alerts")
