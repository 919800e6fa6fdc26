"""Batches that somebody waits for on an open connection: made in two statements, read in one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from shared.db.repositories.batches import NewBatch, create, id_range
from shared.db.tables import jobs, results
from shared.domain.job import JobStatus, job_id_of


def open_batch(
    connection: Connection, batch: NewBatch, requests: Sequence[str], staged_until: datetime
) -> int:
    """Make a batch whose lines are all here and good, running from the start, with messages out
    for all of its jobs. Returns its number.

    Raises ConflictError with code `idempotency_key_taken` where the project has used the key.
    """
    number = create(connection, batch, lines=len(requests))
    rows = [
        {
            "id": job_id_of(number, line),
            "status": JobStatus.QUEUED.value,
            "request": request,
            "lease_until": staged_until,
        }
        for line, request in enumerate(requests, 1)
    ]
    connection.execute(insert(jobs), rows)
    return number


def ended(connection: Connection, number: int) -> Sequence[Any]:
    """The rows of `results` of a batch's ended jobs, in input order."""
    query = (
        select(results)
        .where(results.c.job_id.between(*id_range(number)))
        .order_by(results.c.job_id)
    )
    return connection.execute(query).all()
