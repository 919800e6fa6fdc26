"""Jobs, one for each line of a batch, and the results that they ended with."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    String,
    Table,
    Text,
    text,
)

from shared.db.base import Json, UtcDateTime, counter, metadata, one_of, partial_index
from shared.domain.job import JobStatus

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
    # workers that died while they had it, and how many of them were working on it as they died:
    # see shared.domain.blame
    counter("deaths", Integer),
    counter("blamed", Integer),
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
    partial_index("ix_jobs_stageable", "id", where=_STAGEABLE),
    partial_index("ix_jobs_leased", "lease_until", where=_LEASED),
    partial_index("ix_jobs_held", "id", where=_HELD),
    # which scopes hold jobs, and a scope's jobs in input order, however many others are held
    partial_index("ix_jobs_held_scope", "held_scope", "id", where=_HELD),
    # who waits for a job's end, in input order
    partial_index("ix_jobs_following", "duplicate_of", "id", where=_FOLLOWING),
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
    counter("attempts", Integer),
    counter("climbs", Integer),
    # whether a climb gave an answer that the judge accepted after it refused a weaker model's
    Column("rescued", Boolean, nullable=False, server_default=text("false")),
    # whether its answer came from the project's cache
    Column("cached", Boolean, nullable=False, server_default=text("false")),
    # the job whose answer (or error) this one took because both ask the same
    Column("duplicate_of", BigInteger),
    counter("cost_nusd"),
    # what the answer cost whoever asked first; 0 for an answer that was paid for here
    counter("saved_nusd"),
    # what the strongest model alone would have cost at this usage
    counter("strongest_nusd"),
    Column("latency_ms", Integer),
    Column("body", Text),  # the answer as an OpenAI chat.completion object
    Column("error", Json),  # {code, message, field?, status?}
    Column("decision", Json),
    Column("ended_at", UtcDateTime, nullable=False),
    CheckConstraint("(body IS NULL) = (status <> 'completed')", name="an_answer_or_an_error"),
    CheckConstraint("(error IS NULL) = (status = 'completed')", name="an_error_or_an_answer"),
)
