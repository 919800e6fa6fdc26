"""Paid calls and what they cost: the cost rows, and the sums that are written with them."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table, Text

from shared.db.base import Json, UtcDateTime, counter, metadata, one_of
from shared.domain.attempt import AttemptStatus, Purpose

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("rung", Integer, nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("key_id", String(100), nullable=False),
    Column("reserved_nusd", BigInteger, nullable=False),
    counter("cost_nusd"),
    # the windows it was reserved in, and so is charged to
    Column("day", String(10), nullable=False),
    Column("month", String(7), nullable=False),
    counter("input_tokens", Integer),
    counter("cached_tokens", Integer),
    counter("cache_write_tokens", Integer),
    counter("output_tokens", Integer),
    counter("reasoning_tokens", Integer),
    Column("finish_reason", String(32)),
    Column("error_kind", String(40)),
    Column("error_message", String(500)),
    Column("verdict", Json),
    # the answer of an attempt that was not the job's last word: a crash must not buy it twice
    Column("answer", Text),
    Column("warnings", Json),
    # what kind of prompt is asked; empty where it is of none, as embeddings are
    Column("task_type", String(32), nullable=False, server_default=""),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    one_of("status", AttemptStatus, "status"),
    one_of("purpose", Purpose, "purpose"),
    CheckConstraint("(ended_at IS NULL) = (status = 'open')", name="open_until_ended"),
    CheckConstraint("status <> 'free' OR cost_nusd = 0", name="free_costs_nothing"),
    Index(None, "job_id"),
)

PARTS = 8
"""Rows that one sum may be spread over. Whoever adds to a row keeps it until the commit is on the
disk, so those who write at the same moment have rows of their own: what was spent is the sum of
them. The first is for those whom somebody waits for, and for the maintenance.
"""

spend = Table(
    "spend",
    metadata,
    # the sum of the cost rows per project and window; written with them in one transaction
    Column("project_id", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # day, month, total
    Column("period", String(10), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False, server_default="0"),
    counter("spent_nusd"),
    counter("unconfirmed_nusd"),
)

usage = Table(
    "usage",
    metadata,
    # sums of the cost rows per project, day and model, written with them in one transaction: what
    # a year cost is read from some thousand rows, also when the attempts are deleted
    Column("project_id", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("task_type", String(32), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False, server_default="0"),
    counter("attempts"),
    # attempts that gave no answer: free ones and unconfirmed ones
    counter("without_answer"),
    counter("cost_nusd"),
    counter("unconfirmed_nusd"),
    counter("input_tokens"),
    counter("cached_tokens"),
    counter("output_tokens"),
    counter("reasoning_tokens"),
    Index(None, "day"),
)

budget_announcements = Table(
    "budget_announcements",
    metadata,
    # one row per threshold that was announced, so that each is announced once
    Column("scope", String(120), primary_key=True),
    Column("percent", Integer, primary_key=True),
    Column("limit_nusd", BigInteger, primary_key=True),
    Column("announced_at", UtcDateTime, nullable=False),
)
