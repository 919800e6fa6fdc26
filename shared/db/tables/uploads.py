"""Uploaded files, and those that are still to be read into batches."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, String, Table

from shared.db.base import Json, UtcDateTime, metadata, partial_index

files = Table(
    "files",
    metadata,
    # rises with the time it was made; the file's name in the storage
    Column("id", String(64), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    # the batch whose output or error file it is: such a file is written from the results when it
    # is read, nothing of it is stored
    Column("batch_number", ForeignKey("batches.number", ondelete="CASCADE")),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(255), nullable=False),
    # NULL: an output file that nobody has counted yet
    Column("bytes", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    # deleted for its owner; what is stored goes when no batch needs it any more
    Column("deleted_at", UtcDateTime),
    CheckConstraint("bytes IS NOT NULL OR batch_number IS NOT NULL", name="stored_is_counted"),
    Index(None, "project_id", "id"),
    Index(None, "batch_number"),
    Index(None, "expires_at"),
    partial_index("ix_files_deleted", "id", where="deleted_at IS NOT NULL"),
)

file_intakes = Table(
    "file_intakes",
    metadata,
    # a stored file that is to be read into a batch; gone when the last line is in
    Column("batch_number", ForeignKey("batches.number", ondelete="CASCADE"), primary_key=True),
    Column("file_id", String(64), nullable=False),
    # partial, preferences, constraints: what the file's lines are read with
    Column("options", Json, nullable=False),
    # who reads it, until when unless renewed; NULL: nobody
    Column("claim_token", String(32)),
    Column("lease_until", UtcDateTime),
    Index(None, "file_id"),
)
