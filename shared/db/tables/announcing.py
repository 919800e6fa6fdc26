"""Events on their way out: the outbox, webhook endpoints, deliveries and the log of every try."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.db.base import ROW_NUMBER, Json, UtcDateTime, counter, metadata, partial_index

outbox = Table(
    "outbox",
    metadata,
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    # what the event is about: {"id": "batch_..."} and for our own types a few figures
    Column("data", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("relayed_at", UtcDateTime),
    partial_index("ix_outbox_waiting", "number", where="relayed_at IS NULL"),
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
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(40), nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", String(16), nullable=False),  # pending, delivered, failed
    counter("tries", Integer),
    Column("next_try_at", UtcDateTime),
    Column("claim_token", String(32)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    CheckConstraint("(next_try_at IS NULL) = (status <> 'pending')", name="pending_has_a_time"),
    UniqueConstraint("endpoint_id", "event_id"),
    Index(None, "endpoint_id", "number"),
    partial_index("ix_webhook_deliveries_due", "next_try_at", where="status = 'pending'"),
    sqlite_autoincrement=True,
)

webhook_tries = Table(
    "webhook_tries",
    metadata,
    # the delivery log: one row per request made
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("delivery_id", String(40), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("status_code", Integer),
    Column("error", String(300)),
    Column("duration_ms", Integer, nullable=False),
    Index(None, "delivery_id"),
    sqlite_autoincrement=True,
)
