"""What is learned of ended jobs: their cost and how good they were, beside what was expected."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table

from shared.db.base import Json, UtcDateTime, counter, metadata, partial_index

UNLEARNED_PLAN = "learned_at IS NULL"
UNLEARNED_FEEDBACK = "learned_score IS NULL OR learned_score <> score"

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
    partial_index("ix_batch_plans_unlearned", "batch_number", where=UNLEARNED_PLAN),
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
    partial_index("ix_feedback_unlearned", "job_id", where=UNLEARNED_FEEDBACK),
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
    counter("jobs"),
    counter("completed"),
    # jobs that asked a stronger model after a weak answer, and those of them whose answer it mended
    counter("climbed"),
    counter("rescued"),
    counter("cached"),
    counter("cost_nusd"),
    counter("saved_nusd"),
    counter("strongest_nusd"),
    Index(None, "day"),
)
