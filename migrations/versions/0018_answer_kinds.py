"""What answers cost is learned per kind of answer, of which a task type is one."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Call the task type a kind, and keep how long the longest answers were."""
    op.execute("ALTER TABLE cost_tallies RENAME COLUMN task_type TO kind")
    longest: sa.Column[float] = sa.Column(
        "log_longest", sa.Double(), nullable=False, server_default="0"
    )
    op.add_column("cost_tallies", longest)
    # Of what was learned before, no answer was longer than the usual limit.
    op.execute("UPDATE cost_tallies SET log_longest = 6.93 * batches")


def downgrade() -> None:
    """Forget the kinds that are no task types."""
    op.execute(
        "DELETE FROM cost_tallies WHERE kind NOT IN "
        "('coding', 'creative', 'analysis', 'complex_reasoning', 'simple_qa')"
    )
    op.drop_column("cost_tallies", "log_longest")
    op.execute("ALTER TABLE cost_tallies RENAME COLUMN kind TO task_type")
