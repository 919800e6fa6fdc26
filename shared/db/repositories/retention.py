"""Deleting what is older than it is kept; in small steps, so that nobody waits for the lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, update

from shared.db.repositories.batches import id_range
from shared.db.tables import (
    api_keys,
    attempts,
    batches,
    budget_announcements,
    feedback,
    jobs,
    outbox,
    results,
    webhook_deliveries,
    webhook_tries,
)
from shared.domain.batch import TERMINAL

_LOOKED_THROUGH: Final = 500


def ended_before(connection: Connection, moment: datetime, limit: int) -> Sequence[int]:
    """Numbers of batches that ended before a moment, oldest first."""
    ended_at = func.coalesce(
        batches.c.completed_at, batches.c.failed_at, batches.c.expired_at, batches.c.cancelled_at
    )
    is_over = batches.c.status.in_([status.value for status in TERMINAL]) & (ended_at < moment)
    return _old(connection, batches, is_over, moment, limit)


def delete_jobs(connection: Connection, number: int, limit: int) -> int:
    """Delete up to `limit` jobs of a batch with their results and attempts; sums stay."""
    query = select(jobs.c.id).where(jobs.c.id.between(*id_range(number))).limit(limit)
    ids = connection.execute(query).scalars().all()
    for table, column in (
        (feedback, feedback.c.job_id),
        (attempts, attempts.c.job_id),
        (results, results.c.job_id),
        (jobs, jobs.c.id),
    ):
        connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


def delete_batch(connection: Connection, number: int) -> None:
    """Delete the row of a batch whose jobs are gone; its number is never given out again. What it
    cost stays with the API key that it drew on.
    """
    batch = connection.execute(
        select(batches.c.key_id, batches.c.cost_nusd).where(batches.c.number == number)
    ).one_or_none()
    if batch is not None and batch.key_id is not None:
        connection.execute(
            update(api_keys)
            .where(api_keys.c.id == batch.key_id)
            .values(pruned_nusd=api_keys.c.pruned_nusd + batch.cost_nusd)
        )
    connection.execute(delete(batches).where(batches.c.number == number))


def delete_deliveries(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete up to `limit` deliveries that ended before a moment, with their log."""
    own = webhook_deliveries.c
    numbers = _old(connection, webhook_deliveries, own.ended_at < moment, moment, limit)
    if numbers:
        ids = connection.execute(select(own.id).where(own.number.in_(numbers))).scalars().all()
        connection.execute(delete(webhook_tries).where(webhook_tries.c.delivery_id.in_(ids)))
        connection.execute(delete(webhook_deliveries).where(own.number.in_(numbers)))
    return len(numbers)


def delete_events(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete up to `limit` events that were relayed before a moment."""
    numbers = _old(connection, outbox, outbox.c.relayed_at < moment, moment, limit)
    if numbers:
        connection.execute(delete(outbox).where(outbox.c.number.in_(numbers)))
    return len(numbers)


def delete_announcements(connection: Connection, moment: datetime) -> int:
    """Delete announcements of days and months that were made before a moment."""
    scope = budget_announcements.c.scope
    return connection.execute(
        delete(budget_announcements).where(
            or_(scope.startswith("day:"), scope.startswith("month:")),
            budget_announcements.c.announced_at < moment,
        )
    ).rowcount


def _old(
    connection: Connection,
    table: Table,
    may_go: ColumnElement[bool],
    moment: datetime,
    limit: int,
) -> Sequence[int]:
    """Numbers of rows that may go, oldest first. Rows are looked through in the order of their
    numbers, which is that of their creation, up to the first that was made after the moment: the
    young ones, nearly all there are, are not read, and no index of moments has to be kept.
    """
    found: list[int] = []
    after = 0
    while True:
        query = (
            select(table.c.number, table.c.created_at, may_go.label("may_go"))
            .where(table.c.number > after)
            .order_by(table.c.number)
            .limit(_LOOKED_THROUGH)
        )
        rows = connection.execute(query).all()
        for row in rows:
            if row.created_at >= moment or len(found) == limit:
                return found
            if row.may_go:
                found.append(row.number)
        if len(rows) < _LOOKED_THROUGH:
            return found
        after = rows[-1].number
