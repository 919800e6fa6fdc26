"""Stored files, what a batch keeps of the file it was made from, and files that are to be read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
# A batch's number, as the first step made it.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add two columns to batches, and two tables."""
    op.add_column("batches", sa.Column("input_file_id", sa.String(length=64)))
    op.add_column("batches", sa.Column("output_expires_after_s", sa.Integer()))
    _files()
    _file_intakes()


def downgrade() -> None:
    """Drop them with what is in them."""
    op.drop_table("file_intakes")
    op.drop_table("files")
    op.drop_column("batches", "output_expires_after_s")
    op.drop_column("batches", "input_file_id")


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("batch_number", _NUMBER),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.CheckConstraint(
            "bytes IS NOT NULL OR batch_number IS NOT NULL", name="ck_files_stored_is_counted"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_files_project_id"),
        sa.ForeignKeyConstraint(
            ["batch_number"],
            ["batches.number"],
            name="fk_files_batch_number",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_project_id_id", "files", ["project_id", "id"])
    op.create_index("ix_files_batch_number", "files", ["batch_number"])
    op.create_index("ix_files_expires_at", "files", ["expires_at"])


def _file_intakes() -> None:
    op.create_table(
        "file_intakes",
        sa.Column("batch_number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("claim_token", sa.String(length=32)),
        sa.Column("lease_until", _TIME),
        sa.ForeignKeyConstraint(
            ["batch_number"],
            ["batches.number"],
            name="fk_file_intakes_batch_number",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_number", name="pk_file_intakes"),
    )
    op.create_index("ix_file_intakes_file_id", "file_intakes", ["file_id"])
