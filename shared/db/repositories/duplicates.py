"""Duplicates: jobs that are not asked because an earlier line of their batch asks the same.

A duplicate waits, queued, for the end of the job it duplicates, and takes that end for its own: the
answer, at no cost, or the error. Whoever ends a job shares its end; what is left over (a very large
family, a job that the rescuer ended) is shared by the maintenance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, case, false, func, insert, literal, select, update

from shared.db.bulk import among, listed
from shared.db.repositories import outbox
from shared.db.repositories.batch_moves import Progress
from shared.db.repositories.batches import id_range
from shared.db.tables import jobs, results
from shared.domain.job import JobStatus
from shared.webhooks.events import job_completed

AT_ONCE: Final = 500
"""Duplicates that one transaction ends: so few that nobody waits long for its locks."""

_SHARED: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED})
"""Ends that are shared. A cancelled or expired batch ends each waiting job by itself."""

_TAKEN: Final = (
    "status", "model", "provider", "tier", "task_type", "difficulty", "finish_reason", "cached",
    "strongest_nusd", "body", "error", "decision",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """The batch whose duplicates are ended. is_announced: an endpoint wants an event of each."""

    number: int
    batch_id: str
    project_id: str
    is_announced: bool = False


def share(
    connection: Connection,
    family: Family,
    now: datetime,
    *,
    ended: Sequence[int] | None = None,
    limit: int = AT_ONCE,
) -> Progress:
    """End up to `limit` duplicates of jobs that have ended: of these, or of all of the batch.

    Returns what is to be added to the batch in the same transaction. A duplicate that somebody
    else ends just now (a cancellation) is passed over.
    """
    query = _due(family).limit(limit).with_for_update(of=jobs, skip_locked=True)
    if ended is None:
        rows = connection.execute(query).all()
    else:
        of_these = query.where(among(connection, jobs.c.duplicate_of, "ended"))
        rows = connection.execute(of_these, {"ended": listed(connection, list(ended))}).all()
    for status in _SHARED:
        ids = [row.id for row in rows if row.status == status]
        if ids:
            _end(connection, ids, status, now)
    if family.is_announced:
        for row in rows:
            if row.status == JobStatus.COMPLETED:
                data = job_completed(row.id, family.batch_id, row.custom_id)
                outbox.add(connection, family.project_id, "job.completed", data, now)
    completed = sum(row.status == JobStatus.COMPLETED for row in rows)
    return Progress(completed=completed, failed=len(rows) - completed)


def any_due(connection: Connection, family: Family) -> bool:
    """Whether a duplicate of the batch waits for a job that has ended."""
    return connection.execute(_due(family).limit(1)).first() is not None


def _due(family: Family) -> Select[Any]:
    return (
        select(jobs.c.id, jobs.c.custom_id, results.c.status)
        .join(results, results.c.job_id == jobs.c.duplicate_of)
        .where(
            jobs.c.duplicate_of.is_not(None),
            jobs.c.duplicate_of.between(*id_range(family.number)),
            jobs.c.status == JobStatus.QUEUED,
            results.c.status.in_(_SHARED),
        )
        .order_by(jobs.c.duplicate_of, jobs.c.id)
    )


def _end(connection: Connection, ids: Sequence[int], status: JobStatus, now: datetime) -> None:
    parameters = {"ids": listed(connection, list(ids))}
    connection.execute(
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"))
        .values(status=status.value, run_after=None, wait_reason=None, waiting_since=None),
        parameters,
    )
    saved = case(
        (results.c.status == JobStatus.COMPLETED, results.c.cost_nusd + results.c.saved_nusd),
        else_=0,
    )
    taken = [results.c[name] for name in _TAKEN]
    own = {
        "attempts": literal(0),
        "climbs": literal(0),
        "rescued": false(),
        "cost_nusd": literal(0),
        "ended_at": literal(now, results.c.ended_at.type),
    }
    connection.execute(
        insert(results).from_select(
            ["job_id", "duplicate_of", "saved_nusd", *_TAKEN, *own],
            select(jobs.c.id, jobs.c.duplicate_of, saved, *taken, *own.values())
            .select_from(jobs.join(results, results.c.job_id == jobs.c.duplicate_of))
            .where(among(connection, jobs.c.id, "ids")),
        ),
        parameters,
    )


def sums(connection: Connection, number: int) -> Any:
    """One row: the answers of a batch that were not bought again. cache_hits and cache_saved_nusd
    of those from the project's cache, duplicates and duplicates_saved_nusd of those shared.
    """
    is_duplicate = results.c.duplicate_of.is_not(None)
    from_cache = results.c.cached & results.c.duplicate_of.is_(None)
    answered = results.c.status == JobStatus.COMPLETED

    def total(condition: Any, value: Any) -> Any:
        return func.coalesce(func.sum(case((condition, value), else_=0)), 0)

    query = select(
        total(from_cache, 1).label("cache_hits"),
        total(from_cache, results.c.saved_nusd).label("cache_saved_nusd"),
        total(is_duplicate & answered, 1).label("duplicates"),
        total(is_duplicate, results.c.saved_nusd).label("duplicates_saved_nusd"),
    ).where(results.c.job_id.between(*id_range(number)))
    return connection.execute(query).one()
