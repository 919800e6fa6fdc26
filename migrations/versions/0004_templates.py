"""Named, versioned prompt templates of a project."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "templates",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("deleted_at", _TIME),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_templates_project_id"),
        sa.PrimaryKeyConstraint("project_id", "name", "version", name="pk_templates"),
    )


def downgrade() -> None:
    """Drop it with what is in it."""
    op.drop_table("templates")
