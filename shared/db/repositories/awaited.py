"""Batches that somebody waits for on an open connection: made in two statements, read in one.

Whoever waits for a result is told it by the worker that wrote it, or reads it here; it is the same
row both ways.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from shared.db.repositories.batches import NewBatch, create, id_range
from shared.db.repositories.results import ResultRow
from shared.db.tables import jobs, results
from shared.domain.job import JobStatus, job_id_of

_TOLD: Final = tuple(name for name in ResultRow._fields if name != "custom_id")
"""Columns of `results`. A line that somebody waits for has no id of its own."""
_LONGEST_TOLD: Final = 65_536  # characters of an answer


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


def told(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What whoever waits is told of a row that was just written to `results`; None where it is too
    long for that.
    """
    if len(row["body"] or "") > _LONGEST_TOLD:
        return None
    return {name: row.get(name) for name in _TOLD}


def heard(told: Mapping[str, Any] | None) -> ResultRow | None:
    """The row that `told` told; None where it told none, or another version's."""
    if told is None or told.keys() != set(_TOLD):
        return None
    return ResultRow(**told, custom_id=None)


def ended(connection: Connection, number: int) -> Sequence[ResultRow]:
    """The rows of `results` of a batch's ended jobs, in input order."""
    query = (
        select(*(results.c[name] for name in _TOLD))
        .where(results.c.job_id.between(*id_range(number)))
        .order_by(results.c.job_id)
    )
    return [ResultRow(**row, custom_id=None) for row in connection.execute(query).mappings()]
