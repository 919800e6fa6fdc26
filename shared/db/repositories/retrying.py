"""Retrying a batch: its failed jobs go back to the queue in steps, each a short transaction.

How far it is stands in the batch's row (`retry_at_line`, NULL where no retry is under way) and
moves on in the transaction that puts jobs back: a step is taken once, whoever takes it and whoever
dies. A job that fails again meanwhile lies behind that line and stays failed. What was not put back
yet counts as failed; until all is, the batch is not closed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from shared.db.engine import Database
from shared.db.repositories import batches as batch_rows
from shared.db.repositories import jobs as job_rows
from shared.db.repositories.batch_moves import close_finished
from shared.db.repositories.batches import id_range
from shared.db.tables import batches, jobs
from shared.domain.batch import BatchStatus
from shared.domain.job import JobStatus, job_id_of, line_of

AT_ONCE: Final = 1000
"""Jobs of a step: so few that nobody waits long for its locks."""


def take_step(database: Database, number: int, now: datetime, at_once: int = AT_ONCE) -> bool:
    """Put the next failed jobs of a batch back, if a retry of it is under way. Whether there are
    more of them; False, too, where somebody else has taken this step meanwhile.
    """
    with database.reading() as connection:  # looking for them makes nobody wait
        batch = batch_rows.by_number(connection, number)
        if batch is None or batch.retry_at_line is None:
            return False
        ids = failed_after(connection, number, batch.retry_at_line, at_once)
    to_line = line_of(ids[-1]) if len(ids) == at_once else None
    with database.transaction() as connection:
        is_taken = _put_back(connection, number, ids, batch.retry_at_line, to_line)
        if is_taken and to_line is None:
            close_finished(connection, [number], now)  # all may have ended once more
    return is_taken and to_line is not None


def failed_after(connection: Connection, number: int, line: int, limit: int) -> list[int]:
    """Ids of failed jobs beyond a line that have a request: those refused at intake have none."""
    first, last = job_id_of(number, line) + 1, id_range(number)[1]
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.id.between(first, last),
            jobs.c.status == JobStatus.FAILED,
            jobs.c.request.is_not(None),
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _put_back(
    connection: Connection, number: int, ids: Sequence[int], after: int, to_line: int | None
) -> bool:
    """Take the step that begins after a line; False where that is not where the retry is."""
    moved = connection.execute(
        update(batches)
        .where(
            batches.c.number == number,
            batches.c.status == BatchStatus.IN_PROGRESS,
            batches.c.retry_at_line == after,
        )
        .values(retry_at_line=to_line, failed=batches.c.failed - len(ids))
    )
    if moved.rowcount:
        job_rows.retry_failed(connection, ids)
    return bool(moved.rowcount)
