"""What the stager asks: which batches have jobs to send, and what is out in messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from shared.db.bulk import among, listed
from shared.db.repositories.batches import id_range
from shared.db.tables import jobs
from shared.domain.job import LINE_BITS, JobStatus, batch_number_of, job_id_of

_WAITING = (
    jobs.c.status == JobStatus.QUEUED,
    jobs.c.lease_until.is_(None),
    jobs.c.duplicate_of.is_(None),
)
_STAGED = (jobs.c.status == JobStatus.QUEUED, jobs.c.lease_until.is_not(None))


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch's jobs that are out in messages: how many, the first of them, and the moments by
    which the earliest and the latest of these messages should have been taken.
    """

    jobs: int
    first_id: int
    earliest: datetime
    latest: datetime


def batches_with_waiting_jobs(connection: Connection) -> list[int]:
    """Numbers of batches with queued jobs that no message is out for, due or not.

    One step of the index a batch: a million waiting jobs cost as much as one.
    """
    numbers: list[int] = []
    after = 0
    while True:
        first = connection.execute(
            select(func.min(jobs.c.id)).where(*_WAITING, jobs.c.id >= after)
        ).scalar_one()
        if first is None:
            return numbers
        numbers.append(batch_number_of(first))
        after = job_id_of(numbers[-1] + 1, 0)


def stageable(
    connection: Connection,
    number: int,
    now: datetime,
    limit: int,
    *,
    lines: Sequence[int] | None = None,
) -> Sequence[int]:
    """Ids of a batch's queued jobs that no message is out for and that are due, in input order;
    duplicates are never due. lines: of these lines only.
    """
    only: tuple[ColumnElement[bool], ...] = ()
    values: dict[str, str] = {}
    if lines is not None:
        only = (among(connection, jobs.c.id, "ids"),)
        values = {"ids": listed(connection, [job_id_of(number, line) for line in lines])}
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.id.between(*id_range(number)),
            *_WAITING,
            or_(jobs.c.run_after.is_(None), jobs.c.run_after <= now),
            *only,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return connection.execute(query, values).scalars().all()


def mark_staged(connection: Connection, ids: Sequence[int], until: datetime) -> None:
    """A message is out for these; it should be taken by `until`."""
    connection.execute(
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status == JobStatus.QUEUED)
        .values(lease_until=until),
        {"ids": listed(connection, ids)},
    )


def staged(connection: Connection) -> dict[int, Staged]:
    """What is out, by batch number."""
    # Written into the text: as a parameter it would be another expression to GROUP BY.
    number = jobs.c.id.op(">>")(literal_column(str(LINE_BITS))).label("number")
    query = select(
        number,
        func.count().label("jobs"),
        func.min(jobs.c.id).label("first_id"),
        func.min(jobs.c.lease_until).label("earliest"),
        func.max(jobs.c.lease_until).label("latest"),
    ).where(*_STAGED)
    return {
        row.number: Staged(row.jobs, row.first_id, row.earliest, row.latest)
        for row in connection.execute(query.group_by(number))
    }


def anything_runs(connection: Connection) -> bool:
    """Whether any worker has a job in hand."""
    running = exists().where(jobs.c.status == JobStatus.RUNNING, jobs.c.lease_until.is_not(None))
    return bool(connection.execute(select(running)).scalar_one())


def extend_staged(connection: Connection, number: int, until: datetime) -> int:
    """The messages are still in the broker: give them longer."""
    return connection.execute(
        update(jobs)
        .where(
            jobs.c.id.between(*id_range(number)),
            jobs.c.status == JobStatus.QUEUED,
            jobs.c.lease_until.is_not(None),
        )
        .values(lease_until=until)
    ).rowcount


def unstage_batch(connection: Connection, number: int, before: datetime) -> int:
    """The messages of a batch that should have been taken before a moment are lost."""
    return connection.execute(
        update(jobs)
        .where(jobs.c.id.between(*id_range(number)), *_STAGED, jobs.c.lease_until < before)
        .values(lease_until=None)
    ).rowcount


def unstage_jobs(connection: Connection, ids: Sequence[int]) -> int:
    """The messages of these jobs could not be sent."""
    return connection.execute(
        update(jobs).where(jobs.c.id.in_(ids), *_STAGED).values(lease_until=None)
    ).rowcount
