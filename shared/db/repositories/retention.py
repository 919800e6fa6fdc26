"""Deleting what is older than it is kept; in small steps, so that nobody waits for the lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, or_, select

from shared.db.repositories.batches import id_range
from shared.db.tables import (
    attempts,
    batches,
    budget_announcements,
    jobs,
    outbox,
    results,
    webhook_deliveries,
    webhook_tries,
)
from shared.domain.batch import TERMINAL


def ended_before(connection: Connection, moment: datetime, limit: int) -> Sequence[int]:
    """Numbers of batches that ended before a moment, oldest first."""
    ended_at = func.coalesce(
        batches.c.completed_at, batches.c.failed_at, batches.c.expired_at, batches.c.cancelled_at
    )
    query = (
        select(batches.c.number)
        .where(batches.c.status.in_([status.value for status in TERMINAL]), ended_at < moment)
        .order_by(batches.c.number)
        .limit(limit)
    )
    return connection.execute(query).scalars().all()


def delete_jobs(connection: Connection, number: int, limit: int) -> int:
    """Delete up to `limit` jobs of a batch with their results and attempts; sums stay."""
    query = select(jobs.c.id).where(jobs.c.id.between(*id_range(number))).limit(limit)
    ids = connection.execute(query).scalars().all()
    for table, column in (
        (attempts, attempts.c.job_id),
        (results, results.c.job_id),
        (jobs, jobs.c.id),
    ):
        connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


def delete_batch(connection: Connection, number: int) -> None:
    """Delete the row of a batch whose jobs are gone; its number is never given out again."""
    connection.execute(delete(batches).where(batches.c.number == number))


def delete_deliveries(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete up to `limit` deliveries that ended before a moment, with their log."""
    query = select(webhook_deliveries.c.id).where(webhook_deliveries.c.ended_at < moment)
    ids = connection.execute(query.limit(limit)).scalars().all()
    connection.execute(delete(webhook_tries).where(webhook_tries.c.delivery_id.in_(ids)))
    connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(ids)))
    return len(ids)


def delete_events(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete up to `limit` events that were relayed before a moment."""
    return _delete_some(connection, outbox, outbox.c.number, outbox.c.relayed_at < moment, limit)


def delete_announcements(connection: Connection, moment: datetime) -> int:
    """Delete announcements of days and months that were made before a moment."""
    scope = budget_announcements.c.scope
    return connection.execute(
        delete(budget_announcements).where(
            or_(scope.startswith("day:"), scope.startswith("month:")),
            budget_announcements.c.announced_at < moment,
        )
    ).rowcount


def _delete_some(connection: Connection, table: Table, key: Any, condition: Any, limit: int) -> int:
    keys = connection.execute(select(key).where(condition).limit(limit)).scalars().all()
    return connection.execute(delete(table).where(key.in_(keys))).rowcount if keys else 0
