"""Jobs with how many workers died while working on them, beside how many died while having them."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count. Who is on a last chance by the deaths alone gets it again, watched."""
    op.add_column("jobs", sa.Column("blamed", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "blamed")
