"""The first tables: projects, batches, jobs, results, attempts, money, webhooks, the cluster."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
# SQLite gives rowids only to INTEGER PRIMARY KEY; PostgreSQL wants 64 bits.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _projects()
    _batches()
    _jobs()
    _results()
    _attempts()
    _money()
    _webhooks()
    _cluster()


def downgrade() -> None:
    """Drop every table, those that point at others first."""
    for table in (
        "worker_heartbeats",
        "leaderships",
        "webhook_tries",
        "webhook_deliveries",
        "webhook_endpoints",
        "outbox",
        "budget_announcements",
        "spend",
        "attempts",
        "results",
        "jobs",
        "batches",
        "api_keys",
        "projects",
    ):
        op.drop_table(table)


def _where(condition: str) -> dict[str, Any]:
    """A partial index on either database."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("day_limit_nusd", sa.BigInteger()),
        sa.Column("month_limit_nusd", sa.BigInteger()),
        sa.Column("total_limit_nusd", sa.BigInteger()),
        sa.Column("routing", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("tokens_per_day", sa.BigInteger()),
        sa.Column("spend_limit_nusd", sa.BigInteger()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255)),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255)),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("max_cost_nusd", sa.BigInteger()),
        sa.Column("cost_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unconfirmed_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expired", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("in_progress_at", _TIME),
        sa.Column("finalizing_at", _TIME),
        sa.Column("completed_at", _TIME),
        sa.Column("failed_at", _TIME),
        sa.Column("expired_at", _TIME),
        sa.Column("cancelling_at", _TIME),
        sa.Column("cancelled_at", _TIME),
        sa.CheckConstraint("priority IN ('batch', 'interactive')", name="ck_batches_priority"),
        sa.CheckConstraint(
            "status IN ('validating', 'failed', 'in_progress', 'finalizing', 'completed', "
            "'expired', 'cancelling', 'cancelled')",
            name="ck_batches_status",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_batches_project_id"),
        sa.PrimaryKeyConstraint("number", name="pk_batches"),
        sa.UniqueConstraint("id", name="uq_batches_id"),
        sa.UniqueConstraint(
            "project_id", "idempotency_key", name="uq_batches_project_id_idempotency_key"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_batches_open",
        "batches",
        ["status", "number"],
        **_where("status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"),
    )
    op.create_index("ix_batches_project_id_number", "batches", ["project_id", "number"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("custom_id", sa.String(length=512)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("request", sa.Text()),
        sa.Column("claim_token", sa.String(length=32)),
        sa.Column("lease_until", _TIME),
        sa.Column("run_after", _TIME),
        sa.Column("waiting_since", _TIME),
        sa.Column("wait_reason", sa.String(length=300)),
        sa.Column("held_scope", sa.String(length=120)),
        sa.Column("need_nusd", sa.BigInteger()),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("decision", sa.Text()),
        sa.CheckConstraint(
            "(status = 'held') = (held_scope IS NOT NULL)", name="ck_jobs_held_by_a_scope"
        ),
        sa.CheckConstraint(
            "(status = 'running') = (claim_token IS NOT NULL)",
            name="ck_jobs_only_running_is_claimed",
        ),
        sa.CheckConstraint(
            "status <> 'running' OR lease_until IS NOT NULL", name="ck_jobs_a_claim_has_a_lease"
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'held', 'completed', 'failed', 'cancelled', "
            "'expired')",
            name="ck_jobs_status",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_held", "jobs", ["id"], **_where("status = 'held'"))
    op.create_index("ix_jobs_held_scope", "jobs", ["held_scope", "id"], **_where("status = 'held'"))
    op.create_index("ix_jobs_leased", "jobs", ["lease_until"], **_where("lease_until IS NOT NULL"))
    op.create_index(
        "ix_jobs_stageable", "jobs", ["id"], **_where("status = 'queued' AND lease_until IS NULL")
    )


def _results() -> None:
    op.create_table(
        "results",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=200)),
        sa.Column("provider", sa.String(length=64)),
        sa.Column("tier", sa.String(length=16)),
        sa.Column("task_type", sa.String(length=32)),
        sa.Column("difficulty", sa.Integer()),
        sa.Column("finish_reason", sa.String(length=32)),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("climbs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rescued", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cached", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("strongest_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("latency_ms", sa.Integer()),
        sa.Column("body", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("decision", sa.Text()),
        sa.Column("ended_at", _TIME, nullable=False),
        sa.CheckConstraint(
            "(body IS NULL) = (status <> 'completed')", name="ck_results_an_answer_or_an_error"
        ),
        sa.CheckConstraint(
            "(error IS NULL) = (status = 'completed')", name="ck_results_an_error_or_an_answer"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_results"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=100), nullable=False),
        sa.Column("reserved_nusd", sa.BigInteger(), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cached_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("finish_reason", sa.String(length=32)),
        sa.Column("error_kind", sa.String(length=40)),
        sa.Column("error_message", sa.String(length=500)),
        sa.Column("verdict", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.Column("warnings", sa.Text()),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (status = 'open')", name="ck_attempts_open_until_ended"
        ),
        sa.CheckConstraint(
            "purpose IN ('answer', 'judge', 'classify')", name="ck_attempts_purpose"
        ),
        sa.CheckConstraint(
            "status <> 'free' OR cost_nusd = 0", name="ck_attempts_free_costs_nothing"
        ),
        sa.CheckConstraint(
            "status IN ('open', 'billed', 'free', 'unconfirmed')", name="ck_attempts_status"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_job_id", "attempts", ["job_id"])
    op.create_index("ix_attempts_open", "attempts", ["id"], **_where("status = 'open'"))


def _money() -> None:
    op.create_table(
        "spend",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("spent_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unconfirmed_nusd", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", "period", name="pk_spend"),
    )
    op.create_table(
        "budget_announcements",
        sa.Column("scope", sa.String(length=120), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("limit_nusd", sa.BigInteger(), nullable=False),
        sa.Column("announced_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("scope", "percent", "limit_nusd", name="pk_budget_announcements"),
    )


def _webhooks() -> None:
    op.create_table(
        "outbox",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("relayed_at", _TIME),
        sa.PrimaryKeyConstraint("number", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_waiting", "outbox", ["number"], **_where("relayed_at IS NULL"))
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("previous_secret", sa.String(length=100)),
        sa.Column("previous_secret_until", _TIME),
        sa.Column("failing_since", _TIME),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.CheckConstraint("status IN ('enabled', 'disabled')", name="ck_webhook_endpoints_status"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_webhook_endpoints_project_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
        sa.UniqueConstraint("project_id", "url", name="uq_webhook_endpoints_project_id_url"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_at", _TIME),
        sa.Column("claim_token", sa.String(length=32)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.CheckConstraint(
            "(next_try_at IS NULL) = (status <> 'pending')",
            name="ck_webhook_deliveries_pending_has_a_time",
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name="ck_webhook_deliveries_status"
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name="fk_webhook_deliveries_endpoint_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name="pk_webhook_deliveries"),
        sa.UniqueConstraint(
            "endpoint_id", "event_id", name="uq_webhook_deliveries_endpoint_id_event_id"
        ),
        sa.UniqueConstraint("id", name="uq_webhook_deliveries_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_try_at"],
        **_where("status = 'pending'"),
    )
    op.create_index(
        "ix_webhook_deliveries_endpoint_id_number", "webhook_deliveries", ["endpoint_id", "number"]
    )
    op.create_table(
        "webhook_tries",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.String(length=40), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.String(length=300)),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_webhook_tries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_tries_delivery_id", "webhook_tries", ["delivery_id"])


def _cluster() -> None:
    op.create_table(
        "leaderships",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leaderships"),
    )
    op.create_table(
        "worker_heartbeats",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("running", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worker_heartbeats"),
    )
