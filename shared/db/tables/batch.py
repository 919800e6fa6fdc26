"""Batches: one submitted file each, with what its jobs came to and cost."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from shared.db.base import ROW_NUMBER, Json, UtcDateTime, counter, metadata, one_of, partial_index
from shared.domain.batch import BatchStatus, Priority

OPEN_BATCH = "status IN ('validating', 'filling', 'in_progress', 'finalizing', 'cancelling')"
SUBMITTED_BATCH = "id < 'chat'"
UNSUMMED_BATCH = "summed_at IS NULL AND status IN ('completed', 'failed', 'expired', 'cancelled')"

batches = Table(
    "batches",
    metadata,
    # the upper part of its jobs' ids, so it is given out once and never again
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("idempotency_key", String(255)),
    # of its file and its options; where content_bytes is given: of so many first bytes of the file
    Column("content_sha256", String(64), nullable=False),
    Column("name", String(255)),
    Column("metadata", Json, nullable=False),
    Column("completion_window", String(16), nullable=False),
    Column("max_cost_nusd", BigInteger),
    counter("cost_nusd"),
    counter("unconfirmed_nusd"),
    counter("input_tokens"),
    counter("cached_tokens"),
    counter("output_tokens"),
    counter("reasoning_tokens"),
    # jobs by end; queued, running and held are counted from the jobs themselves
    counter("total", Integer),
    counter("completed", Integer),
    counter("failed", Integer),
    counter("cancelled", Integer),
    counter("expired", Integer),
    # lines that were refused at intake; they are among `failed` too
    counter("rejected", Integer),
    # lines that wait for the answer of an earlier line that asks the same
    counter("duplicates", Integer),
    Column("error", Json),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("in_progress_at", UtcDateTime),
    Column("finalizing_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("expired_at", UtcDateTime),
    Column("cancelling_at", UtcDateTime),
    Column("cancelled_at", UtcDateTime),
    # of a batch made from a stored file: that file, and how long its output files are kept
    Column("input_file_id", String(64)),
    Column("output_expires_after_s", Integer),
    # what its lines ask for, by OpenAI's address of it
    Column("endpoint", String(64), nullable=False, server_default="/v1/chat/completions"),
    # the API key it draws on, where that has a spend limit or a limit of tokens
    Column("key_id", String(40)),
    # the most tokens it may use, as they were counted against the key's limit of its first day
    Column("counted_tokens", BigInteger),
    # of one that runs while it is filled: how much of its file is in (NULL: all of it), and when
    # somebody was last seen to send it
    Column("content_bytes", BigInteger),
    Column("fed_at", UtcDateTime),
    # "quality": its cap is allotted to all jobs together; NULL: each is routed by itself
    Column("optimise", String(16)),
    # where a part of it is tried on every tier first: wanted, asking, committed (the rest may run)
    Column("pilot", String(16)),
    # the share of good answers that its routing may lose, at most, at 95 %
    Column("max_quality_loss", Double),
    # when what became of its jobs was added to `outcome_days`; NULL: not, or not of this run
    Column("summed_at", UtcDateTime),
    # the trace it was submitted in, as W3C's header says it; NULL: it is not traced
    Column("traceparent", String(55)),
    # while a retry puts failed jobs back into the queue: up to which line it has; NULL: none does
    Column("retry_at_line", Integer),
    UniqueConstraint("project_id", "idempotency_key"),
    one_of("status", BatchStatus, "status"),
    one_of("priority", Priority, "priority"),
    Index(None, "project_id", "number"),
    # a request that is sent again finds what it has made
    Index("ix_batches_content", "content_sha256"),
    partial_index("ix_batches_key", "key_id", "created_at", where="key_id IS NOT NULL"),
    partial_index("ix_batches_open", "status", "number", where=OPEN_BATCH),
    partial_index("ix_batches_unsummed", "number", where=UNSUMMED_BATCH),
    # what is listed: a mill may have a million chats between two batches
    partial_index("ix_batches_submitted", "project_id", "number", where=SUBMITTED_BATCH),
    partial_index("ix_batches_submitted_by_all", "number", where=SUBMITTED_BATCH),
    sqlite_autoincrement=True,
)
