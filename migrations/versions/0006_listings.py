"""Indexes that leave out what a listing or a sweep does not ask for: chats among the batches, files
that are still there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SUBMITTED = "id < 'chat'"
_DELETED = "deleted_at IS NOT NULL"


def upgrade() -> None:
    """Make the indexes."""
    _index("ix_batches_submitted", "batches", ["project_id", "number"], _SUBMITTED)
    _index("ix_batches_submitted_by_all", "batches", ["number"], _SUBMITTED)
    _index("ix_files_deleted", "files", ["id"], _DELETED)


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_files_deleted", "files")
    op.drop_index("ix_batches_submitted_by_all", "batches")
    op.drop_index("ix_batches_submitted", "batches")


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
