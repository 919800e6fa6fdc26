"""Every table. Migrations are compared with this file by a test.

Money columns end in `_nusd` and hold integer nano-dollars. JSON that the database never looks into
(requests, answers) is text. Statuses carry CHECKs made from the enumerations.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from shared.db.base import Json, UtcDateTime, metadata, one_of
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.batch import BatchStatus, Priority
from shared.domain.job import JobStatus

# SQLite gives rowids only to INTEGER PRIMARY KEY; PostgreSQL wants 64 bits.
_Number = BigInteger().with_variant(Integer, "sqlite")

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("day_limit_nusd", BigInteger),
    Column("month_limit_nusd", BigInteger),
    Column("total_limit_nusd", BigInteger),
    # what routing takes from the project: its wishes, and the trial that runs
    Column("routing", Json, nullable=False),
    # for how long answers are kept for the next one who asks the same (NULL: not at all), and the
    # name of the cache they are kept in: another name is an empty cache
    Column("cache_ttl_s", Integer),
    Column("cache_name", String(32)),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", String(200), nullable=False),
    # sha256 of the key: keys are 256 random bits, so a fast hash loses nothing
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("requests_per_minute", Integer),
    Column("tokens_per_day", BigInteger),
    Column("spend_limit_nusd", BigInteger),
    # what its batches cost that were deleted by age
    Column("pruned_nusd", BigInteger, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index(None, "project_id"),
)

templates = Table(
    "templates",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    # rises by one with every change and is never given out again
    Column("version", Integer, primary_key=True, autoincrement=False),
    # a native line's fields, with {{ variables }} in its texts
    Column("fields", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # all versions of a name are deleted together; what jobs were made by stays readable
    Column("deleted_at", UtcDateTime),
)

OPEN_BATCH = "status IN ('validating', 'filling', 'in_progress', 'finalizing', 'cancelling')"
SUBMITTED_BATCH = "id < 'chat'"
UNLEARNED_PLAN = "learned_at IS NULL"
UNLEARNED_FEEDBACK = "learned_score IS NULL OR learned_score <> score"
UNSUMMED_BATCH = "summed_at IS NULL AND status IN ('completed', 'failed', 'expired', 'cancelled')"
"""Conditions of indexes. SQLite uses such an index only for a query that says the same word for
word: `where(text(OPEN_BATCH))`.
"""

batches = Table(
    "batches",
    metadata,
    # the upper part of its jobs' ids, so it is given out once and never again
    Column("number", _Number, primary_key=True, autoincrement=True),
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
    Column("cost_nusd", BigInteger, nullable=False, server_default="0"),
    Column("unconfirmed_nusd", BigInteger, nullable=False, server_default="0"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cached_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reasoning_tokens", BigInteger, nullable=False, server_default="0"),
    # jobs by end; queued, running and held are counted from the jobs themselves
    Column("total", Integer, nullable=False, server_default="0"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("expired", Integer, nullable=False, server_default="0"),
    # lines that were refused at intake; they are among `failed` too
    Column("rejected", Integer, nullable=False, server_default="0"),
    # lines that wait for the answer of an earlier line that asks the same
    Column("duplicates", Integer, nullable=False, server_default="0"),
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
    UniqueConstraint("project_id", "idempotency_key"),
    one_of("status", BatchStatus, "status"),
    one_of("priority", Priority, "priority"),
    Index(None, "project_id", "number"),
    # a request that is sent again finds what it has made
    Index("ix_batches_content", "content_sha256"),
    Index(
        "ix_batches_key",
        "key_id",
        "created_at",
        sqlite_where=text("key_id IS NOT NULL"),
        postgresql_where=text("key_id IS NOT NULL"),
    ),
    Index(
        "ix_batches_open",
        "status",
        "number",
        sqlite_where=text(OPEN_BATCH),
        postgresql_where=text(OPEN_BATCH),
    ),
    Index(
        "ix_batches_unsummed",
        "number",
        sqlite_where=text(UNSUMMED_BATCH),
        postgresql_where=text(UNSUMMED_BATCH),
    ),
    # what is listed: a mill may have a million chats between two batches
    Index(
        "ix_batches_submitted",
        "project_id",
        "number",
        sqlite_where=text(SUBMITTED_BATCH),
        postgresql_where=text(SUBMITTED_BATCH),
    ),
    Index(
        "ix_batches_submitted_by_all",
        "number",
        sqlite_where=text(SUBMITTED_BATCH),
        postgresql_where=text(SUBMITTED_BATCH),
    ),
    sqlite_autoincrement=True,
)

batch_plans = Table(
    "batch_plans",
    metadata,
    # what was expected of a batch before its first job ran; none for chat completions
    Column("batch_number", ForeignKey("batches.number", ondelete="CASCADE"), primary_key=True),
    Column("made_at", UtcDateTime, nullable=False),
    # a plan's figures: cost_nusd {p50, p95, worst}, models, seconds
    Column("forecast", Json, nullable=False),
    # where its budget is allotted to all jobs together: what the price is found anew with, and the
    # price: the good answers that a further dollar must bring
    Column("allotment", Json),
    Column("gain_per_usd", Double),
    # its pilot: the lines, what the rest would usually be asked of, and in the end the choices
    Column("pilot", Json),
    # when what its answers cost was added to `cost_tallies`; NULL: not yet
    Column("learned_at", UtcDateTime),
    Index(
        "ix_batch_plans_unlearned",
        "batch_number",
        sqlite_where=text(UNLEARNED_PLAN),
        postgresql_where=text(UNLEARNED_PLAN),
    ),
)

COST_SUMS = (
    "answers", "relative_squares", "input_tokens", "input_bytes", "weak", "latency_ms", "timed",
    "batches", "log_mean", "log_squares", "noise", "log_longest",
)  # fmt: skip
"""The fields of `shared.deciding.expectations.Tally`."""

cost_tallies = Table(
    "cost_tallies",
    metadata,
    # what answers cost per model and kind of answer, older batches for less: see
    # shared.deciding.expectations
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("kind", String(32), primary_key=True),
    *(Column(name, Double, nullable=False, server_default="0") for name in COST_SUMS),
    Column("updated_at", UtcDateTime, nullable=False),
)

EVIDENCE_SUMS = (
    "good", "bad", "agreed", "differed", "passed", "refused", "difficulties", "seen",
)  # fmt: skip
"""The fields of `shared.deciding.learning.Evidence`."""

outcome_tallies = Table(
    "outcome_tallies",
    metadata,
    # what became of answers per model and task type, older ones for less
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("task_type", String(32), primary_key=True),
    *(Column(name, Double, nullable=False, server_default="0") for name in EVIDENCE_SUMS),
    Column("updated_at", UtcDateTime, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    # what somebody said of a job's answer: the last word counts
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("model", String(200), nullable=False),
    Column("task_type", String(32), nullable=False),
    Column("difficulty", Integer, nullable=False),  # in thousandths
    Column("score", Double, nullable=False),  # 0: bad, 1: good
    Column("given_at", UtcDateTime, nullable=False),
    # the score that was added to `outcome_tallies`; NULL: none yet
    Column("learned_score", Double),
    Index(
        "ix_feedback_unlearned",
        "job_id",
        sqlite_where=text(UNLEARNED_FEEDBACK),
        postgresql_where=text(UNLEARNED_FEEDBACK),
    ),
)

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
    Index(
        "ix_files_deleted",
        "id",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
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

_STAGEABLE = "status = 'queued' AND lease_until IS NULL AND duplicate_of IS NULL"
_FOLLOWING = "duplicate_of IS NOT NULL AND status = 'queued'"
_LEASED = "lease_until IS NOT NULL"
_HELD = "status = 'held'"

jobs = Table(
    "jobs",
    metadata,
    # batch number and line: see shared.domain.job.job_id_of
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("custom_id", String(512)),
    Column("status", String(16), nullable=False),
    # the normal form of the request; NULL for a line that was refused at intake
    Column("request", Text),
    Column("claim_token", String(32)),
    # running: the worker's lease; queued: by when its message should have been taken (NULL: no
    # message is out, the stager may send one)
    Column("lease_until", UtcDateTime),
    Column("run_after", UtcDateTime),
    # since when it waits for providers that are down, and what it waits for
    Column("waiting_since", UtcDateTime),
    Column("wait_reason", String(300)),
    Column("held_scope", String(120)),
    Column("need_nusd", BigInteger),
    Column("deaths", Integer, nullable=False, server_default="0"),
    # classification and route, kept while the job waits so that they are decided once
    Column("decision", Json),
    # the job of an earlier line that asks the same: this one is not asked, it takes that end
    Column("duplicate_of", BigInteger),
    one_of("status", JobStatus, "status"),
    CheckConstraint(
        "(status = 'running') = (claim_token IS NOT NULL)", name="only_running_is_claimed"
    ),
    CheckConstraint("status <> 'running' OR lease_until IS NOT NULL", name="a_claim_has_a_lease"),
    CheckConstraint("(status = 'held') = (held_scope IS NOT NULL)", name="held_by_a_scope"),
    Index(
        "ix_jobs_stageable",
        "id",
        sqlite_where=text(_STAGEABLE),
        postgresql_where=text(_STAGEABLE),
    ),
    Index(
        "ix_jobs_leased",
        "lease_until",
        sqlite_where=text(_LEASED),
        postgresql_where=text(_LEASED),
    ),
    Index("ix_jobs_held", "id", sqlite_where=text(_HELD), postgresql_where=text(_HELD)),
    # which scopes hold jobs, and a scope's jobs in input order, however many others are held
    Index(
        "ix_jobs_held_scope",
        "held_scope",
        "id",
        sqlite_where=text(_HELD),
        postgresql_where=text(_HELD),
    ),
    # who waits for a job's end, in input order
    Index(
        "ix_jobs_following",
        "duplicate_of",
        "id",
        sqlite_where=text(_FOLLOWING),
        postgresql_where=text(_FOLLOWING),
    ),
)

results = Table(
    "results",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("model", String(200)),
    Column("provider", String(64)),
    Column("tier", String(16)),
    Column("task_type", String(32)),
    Column("difficulty", Integer),  # in thousandths
    Column("finish_reason", String(32)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("climbs", Integer, nullable=False, server_default="0"),
    # whether a climb gave an answer that the judge accepted after it refused a weaker model's
    Column("rescued", Boolean, nullable=False, server_default=text("false")),
    # whether its answer came from the project's cache
    Column("cached", Boolean, nullable=False, server_default=text("false")),
    # the job whose answer (or error) this one took because both ask the same
    Column("duplicate_of", BigInteger),
    Column("cost_nusd", BigInteger, nullable=False, server_default="0"),
    # what the answer cost whoever asked first; 0 for an answer that was paid for here
    Column("saved_nusd", BigInteger, nullable=False, server_default="0"),
    # what the strongest model alone would have cost at this usage
    Column("strongest_nusd", BigInteger, nullable=False, server_default="0"),
    Column("latency_ms", Integer),
    Column("body", Text),  # the answer as an OpenAI chat.completion object
    Column("error", Json),  # {code, message, field?, status?}
    Column("decision", Json),
    Column("ended_at", UtcDateTime, nullable=False),
    CheckConstraint("(body IS NULL) = (status <> 'completed')", name="an_answer_or_an_error"),
    CheckConstraint("(error IS NULL) = (status = 'completed')", name="an_error_or_an_answer"),
)

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
    Column("cost_nusd", BigInteger, nullable=False, server_default="0"),
    # the windows it was reserved in, and so is charged to
    Column("day", String(10), nullable=False),
    Column("month", String(7), nullable=False),
    Column("input_tokens", Integer, nullable=False, server_default="0"),
    Column("cached_tokens", Integer, nullable=False, server_default="0"),
    Column("cache_write_tokens", Integer, nullable=False, server_default="0"),
    Column("output_tokens", Integer, nullable=False, server_default="0"),
    Column("reasoning_tokens", Integer, nullable=False, server_default="0"),
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

spend = Table(
    "spend",
    metadata,
    # the sum of the cost rows per project and window; written with them in one transaction
    Column("project_id", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # day, month, total
    Column("period", String(10), primary_key=True),
    Column("spent_nusd", BigInteger, nullable=False, server_default="0"),
    Column("unconfirmed_nusd", BigInteger, nullable=False, server_default="0"),
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
    Column("attempts", BigInteger, nullable=False, server_default="0"),
    # attempts that gave no answer: free ones and unconfirmed ones
    Column("without_answer", BigInteger, nullable=False, server_default="0"),
    Column("cost_nusd", BigInteger, nullable=False, server_default="0"),
    Column("unconfirmed_nusd", BigInteger, nullable=False, server_default="0"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cached_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reasoning_tokens", BigInteger, nullable=False, server_default="0"),
    Index(None, "day"),
)

outcome_days = Table(
    "outcome_days",
    metadata,
    # sums of the results of batches that ended, by the day on which the job did; empty names where
    # a job has none, such as one that failed
    Column("project_id", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("task_type", String(32), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("tier", String(16), primary_key=True),
    Column("jobs", BigInteger, nullable=False, server_default="0"),
    Column("completed", BigInteger, nullable=False, server_default="0"),
    # jobs that asked a stronger model after a weak answer, and those of them whose answer it mended
    Column("climbed", BigInteger, nullable=False, server_default="0"),
    Column("rescued", BigInteger, nullable=False, server_default="0"),
    Column("cached", BigInteger, nullable=False, server_default="0"),
    Column("cost_nusd", BigInteger, nullable=False, server_default="0"),
    Column("saved_nusd", BigInteger, nullable=False, server_default="0"),
    Column("strongest_nusd", BigInteger, nullable=False, server_default="0"),
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

outbox = Table(
    "outbox",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    # what the event is about: {"id": "batch_..."} and for our own types a few figures
    Column("data", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("relayed_at", UtcDateTime),
    Index(
        "ix_outbox_waiting",
        "number",
        sqlite_where=text("relayed_at IS NULL"),
        postgresql_where=text("relayed_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("url", String(2048), nullable=False),
    Column("event_types", Json, nullable=False),
    Column("status", String(16), nullable=False),  # enabled, disabled
    Column("secret", String(100), nullable=False),
    Column("previous_secret", String(100)),
    Column("previous_secret_until", UtcDateTime),
    Column("failing_since", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "url"),
    CheckConstraint("status IN ('enabled', 'disabled')", name="status"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(40), nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", String(16), nullable=False),  # pending, delivered, failed
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", UtcDateTime),
    Column("claim_token", String(32)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    CheckConstraint("(next_try_at IS NULL) = (status <> 'pending')", name="pending_has_a_time"),
    UniqueConstraint("endpoint_id", "event_id"),
    Index(None, "endpoint_id", "number"),
    Index(
        "ix_webhook_deliveries_due",
        "next_try_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    sqlite_autoincrement=True,
)

webhook_tries = Table(
    "webhook_tries",
    metadata,
    # the delivery log: one row per request made
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("delivery_id", String(40), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("status_code", Integer),
    Column("error", String(300)),
    Column("duration_ms", Integer, nullable=False),
    Index(None, "delivery_id"),
    sqlite_autoincrement=True,
)

leaderships = Table(
    "leaderships",
    metadata,
    # who in the cluster runs a repairer, until when
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

worker_heartbeats = Table(
    "worker_heartbeats",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("running", Integer, nullable=False, server_default="0"),
)

alerts = Table(
    "alerts",
    metadata,
    # what somebody should look at, from its first sight until its end was told
    Column("key", String(300), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("project_id", String(64)),
    Column("message", String(500), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    # when it had lasted long enough to be told; since when it is gone again
    Column("raised_at", UtcDateTime),
    Column("gone_since", UtcDateTime),
    # {channel: the last that it told}; what failed is tried again at `tell_at`
    Column("told", Json, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("tell_at", UtcDateTime, nullable=False),
)
