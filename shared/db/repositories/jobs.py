"""Jobs that no worker has: lines taken in, and what ends or frees them as they wait.

One verb for each move of the state machine, guarded by status; the moves under a claim are those of
`job_claims`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, literal, select, update

from shared.db.bulk import among, insert_rows, listed
from shared.db.copying import copy_rows
from shared.db.repositories.batch_moves import Progress, add_progress
from shared.db.repositories.batches import id_range
from shared.db.repositories.job_claims import FREED
from shared.db.tables import attempts, jobs, results
from shared.domain.job import TERMINAL, JobStatus, job_id_of, line_of

CANCELLED_ERROR = {
    "code": "batch_cancelled",
    "message": "The batch was cancelled before this request was executed.",
}

EXPIRED_ERROR = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


class TakenLine(NamedTuple):
    """A line taken in: a request in its stored form, or why it was refused. duplicate_of: the
    earlier line whose answer it waits for.
    """

    line: int
    custom_id: str | None
    request: str | None
    error: Mapping[str, Any] | None = None
    duplicate_of: int | None = None


def insert_lines(
    connection: Connection, number: int, lines: Sequence[TakenLine], now: datetime
) -> None:
    """Write lines of a batch: good ones queued, refused ones failed with their error."""
    queued, failed = JobStatus.QUEUED.value, JobStatus.FAILED.value
    of_batch = job_id_of(number, 0)
    taken = [
        (
            of_batch | line,
            custom_id,
            queued if error is None else failed,
            request,
            leader and of_batch | leader,
        )
        for line, custom_id, request, error, leader in lines
    ]
    columns = ("id", "custom_id", "status", "request", "duplicate_of")
    copy_rows(connection, jobs, columns, taken)
    refused = [
        {
            "job_id": job_id_of(number, line.line),
            "status": failed,
            "error": dict(line.error),
            "ended_at": now,
        }
        for line in lines
        if line.error is not None
    ]
    insert_rows(connection, results, refused)


def last_line(connection: Connection, number: int) -> int:
    """The last line of a batch that is in; 0 where none is."""
    query = select(func.max(jobs.c.id)).where(jobs.c.id.between(*id_range(number)))
    last = connection.execute(query).scalar_one()
    return 0 if last is None else line_of(last)


def any_open(connection: Connection, ids: Sequence[int]) -> bool:
    """Whether one of these jobs has not ended."""
    ended = [status.value for status in TERMINAL]
    query = (
        select(jobs.c.id)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status.not_in(ended))
        .limit(1)
    )
    return connection.execute(query, {"ids": listed(connection, ids)}).first() is not None


def release(connection: Connection, ids: Sequence[int]) -> int:
    """There is money again: held jobs go back to the queue."""
    return connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.HELD)
        .values(
            status=JobStatus.QUEUED.value,
            held_scope=None,
            need_nusd=None,
            wait_reason=None,
            lease_until=None,
        )
    ).rowcount


def end_waiting(
    connection: Connection, number: int, status: JobStatus, now: datetime, limit: int = 1000
) -> int:
    """Cancel or expire up to `limit` of a batch's queued and held jobs, each with its error row
    and in the batch's counts. Returns how many; call until it returns 0, a transaction each, so
    that a million jobs neither lock the table nor fill the memory.
    """
    error = CANCELLED_ERROR if status is JobStatus.CANCELLED else EXPIRED_ERROR
    found = _waiting(connection, number, limit)
    if not found:
        return 0
    ids = {"ids": listed(connection, found)}
    of_job = among(connection, jobs.c.id, "ids")
    freed = {"held_scope": None, "need_nusd": None, "decision": None, **FREED}
    connection.execute(update(jobs).where(of_job).values(status=status.value, **freed), ids)
    spent = _spent_on(connection)
    connection.execute(
        insert(results).from_select(
            ["job_id", "status", "error", "ended_at", "attempts", "cost_nusd"],
            select(
                jobs.c.id,
                literal(status.value),
                literal(error, results.c.error.type),
                literal(now, results.c.ended_at.type),
                func.coalesce(spent.c.attempts, 0),
                func.coalesce(spent.c.cost_nusd, 0),
            )
            .select_from(jobs.outerjoin(spent, spent.c.job_id == jobs.c.id))
            .where(of_job),
        ),
        ids,
    )
    ended = len(found)
    step = Progress(cancelled=ended) if status is JobStatus.CANCELLED else Progress(expired=ended)
    add_progress(connection, {number: step}, now)
    return ended


def _waiting(connection: Connection, number: int, limit: int) -> Sequence[int]:
    """Ids of queued and held jobs, locked. Each kind by its own small index: in the table's order
    every call would begin by reading all those that the calls before it have ended.
    """
    first, last = id_range(number)
    queued = jobs.c.status == JobStatus.QUEUED
    of_batch = jobs.c.id.between(first, last)
    kinds = (
        (of_batch, queued, jobs.c.lease_until.is_(None), jobs.c.duplicate_of.is_(None)),
        (of_batch, jobs.c.status == JobStatus.HELD),
        # As an expression the id cannot lead the planner to the table's own order.
        ((jobs.c.id + 0).between(first, last), queued, jobs.c.lease_until.is_not(None)),
        (queued, jobs.c.duplicate_of.between(first, last)),
    )
    found: list[int] = []
    for conditions in kinds:
        if len(found) < limit:
            query = select(jobs.c.id).where(*conditions).limit(limit - len(found))
            found += connection.execute(query.with_for_update(skip_locked=True)).scalars()
    return found


def _spent_on(connection: Connection) -> Any:
    """Attempts and their cost per job, for jobs that ended without their own last word."""
    return (
        select(
            attempts.c.job_id,
            func.count().label("attempts"),
            func.sum(attempts.c.cost_nusd).label("cost_nusd"),
        )
        .where(among(connection, attempts.c.job_id, "ids"))
        .group_by(attempts.c.job_id)
        .subquery()
    )


def retry_failed(connection: Connection, ids: Sequence[int]) -> int:
    """Put those of the jobs that failed back into the queue; their error rows go. Returns how many.
    The caller takes them off the batch's count in the same transaction (see `retrying`).
    """
    parameters = {"ids": listed(connection, ids)}
    failed = JobStatus.FAILED.value
    connection.execute(
        delete(results).where(
            among(connection, results.c.job_id, "ids"), results.c.status == failed
        ),
        parameters,
    )
    return connection.execute(
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status == failed)
        .values(status=JobStatus.QUEUED.value, deaths=0, blamed=0, **FREED),
        parameters,
    ).rowcount
