"""Figures of the whole mill at one moment, for whoever watches it. Each query reads an index of
what is under way, never what has ended, so that it costs the same with ten million rows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, text

from shared.db.tables import (
    OPEN_BATCH,
    SUBMITTED_BATCH,
    attempts,
    batches,
    outbox,
    projects,
    spend,
    webhook_deliveries,
    worker_heartbeats,
)
from shared.domain.attempt import AttemptStatus


def open_batches(connection: Connection) -> Sequence[Any]:
    """Rows (status, priority, count, oldest): batches that have not ended."""
    query = select(
        batches.c.status,
        batches.c.priority,
        func.count().label("count"),
        func.min(batches.c.created_at).label("oldest"),
    ).where(text(f"batches.{OPEN_BATCH}"))
    return connection.execute(query.group_by(batches.c.status, batches.c.priority)).all()


def newest_open(connection: Connection, limit: int) -> Sequence[Any]:
    """Submitted batches that have not ended, the newest first: id, project_id, name, status, total,
    completed, failed, cost_nusd, created_at.
    """
    names = ("id", "project_id", "name", "status", "total", "completed", "failed", "cost_nusd")
    query = (
        select(*(batches.c[name] for name in names), batches.c.created_at)
        .where(text(f"batches.{OPEN_BATCH}"), text(f"batches.{SUBMITTED_BATCH}"))
        .order_by(batches.c.number.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def open_attempts(connection: Connection) -> Sequence[Any]:
    """Rows (project_id, count, reserved_nusd): paid calls under way."""
    query = select(
        attempts.c.project_id,
        func.count().label("count"),
        func.sum(attempts.c.reserved_nusd).label("reserved_nusd"),
    ).where(attempts.c.status == AttemptStatus.OPEN)
    return connection.execute(query.group_by(attempts.c.project_id)).all()


def windows(connection: Connection, day: str, month: str) -> Sequence[Any]:
    """Rows (project_id, kind, limit_nusd or None, spent_nusd, unconfirmed_nusd): every project's
    present windows in which something was spent or is limited.
    """
    periods = (("day", day), ("month", month), ("total", ""))
    limit = case(*((spend.c.kind == kind, projects.c[f"{kind}_limit_nusd"]) for kind, _ in periods))
    query = (
        select(
            spend.c.project_id,
            spend.c.kind,
            limit.label("limit_nusd"),
            spend.c.spent_nusd,
            spend.c.unconfirmed_nusd,
        )
        .join(projects, projects.c.id == spend.c.project_id)
        .where(
            spend.c.period.in_([period for _, period in periods]),
            case(*((spend.c.kind == kind, spend.c.period == period) for kind, period in periods)),
        )
        .order_by(spend.c.project_id, spend.c.kind)
    )
    return connection.execute(query).all()


def waiting_events(connection: Connection) -> Any:
    """A row (count, oldest): events that the relay has not taken up."""
    query = select(func.count().label("count"), func.min(outbox.c.created_at).label("oldest"))
    return connection.execute(query.where(outbox.c.relayed_at.is_(None))).one()


def pending_deliveries(connection: Connection) -> Any:
    """A row (count, due): webhooks that are not delivered yet, and when the first is due."""
    query = select(
        func.count().label("count"), func.min(webhook_deliveries.c.next_try_at).label("due")
    )
    return connection.execute(query.where(webhook_deliveries.c.status == "pending")).one()


def processes(connection: Connection, since: datetime) -> Sequence[Any]:
    """Rows (kind, count, running): processes seen since a moment, and the jobs in their hands."""
    query = select(
        worker_heartbeats.c.kind,
        func.count().label("count"),
        func.sum(worker_heartbeats.c.running).label("running"),
    ).where(worker_heartbeats.c.seen_at >= since)
    return connection.execute(query.group_by(worker_heartbeats.c.kind)).all()
