"""What the hold releaser asks about held jobs."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, select

from shared.db.tables import jobs
from shared.domain.job import JobStatus


def held_by(connection: Connection, scope: str, limit: int) -> Sequence[Any]:
    """The first jobs (id, need_nusd) that exactly this scope holds, in input order."""
    query = (
        select(jobs.c.id, jobs.c.need_nusd)
        .where(jobs.c.status == JobStatus.HELD, jobs.c.held_scope == scope)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return connection.execute(query).all()


def still_queued(connection: Connection, ids: Collection[int]) -> set[int]:
    """Which of these jobs no worker has taken yet."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.QUEUED)
    return set(connection.execute(query).scalars())
