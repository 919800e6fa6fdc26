"""What became of jobs, summed up by project, day, task type, model and tier: what a year saved is
read from some thousand rows, also when its batches are deleted.

A batch is summed up once, when it has ended; `summed_at` and the sums are one transaction. One that
is retried is taken out again first, in the transaction that reopens it, so the sums are at every
commit those of the results of all batches marked. What is added or subtracted is read before that
transaction, since the results of a batch that has ended stay as they are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, String, case, func, literal_column, select, text, update

from shared.db.bulk import add_rows
from shared.db.tables import UNSUMMED_BATCH, batches, outcome_days, results
from shared.domain.job import LINE_BITS

SUMS: Final = tuple(str(column.name) for column in outcome_days.columns if not column.primary_key)
_KEY: Final = tuple(str(column.name) for column in outcome_days.primary_key)
_LAST_LINE: Final = (1 << LINE_BITS) - 1
_ENDED_AT: Final = func.coalesce(
    batches.c.completed_at, batches.c.failed_at, batches.c.expired_at, batches.c.cancelled_at
)

Ended = dict[int, datetime]
"""Batches by number, and when they ended."""


class Summed(NamedTuple):
    """When a batch was summed up (None: it is not), and what was added then."""

    at: datetime | None
    sums: Sequence[dict[str, Any]]


def unsummed(connection: Connection, most_batches: int, most_jobs: int) -> Ended:
    """Ended batches that are not summed up yet, the oldest first: at least one, and no more than
    so many jobs in all.
    """
    query = (
        select(batches.c.number, batches.c.total, _ENDED_AT.label("ended_at"))
        .where(text(UNSUMMED_BATCH))
        .order_by(batches.c.number)
        .limit(most_batches)
    )
    found: Ended = {}
    jobs = 0
    for row in connection.execute(query):
        jobs += row.total
        if found and jobs > most_jobs:
            break
        found[row.number] = row.ended_at
    return found


def sums_of(connection: Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Rows to add: the results of these batches."""
    first = batches.c.number.op("<<")(literal_column(str(LINE_BITS)))
    day = (
        func.substr(results.c.ended_at, 1, 10, type_=String)
        if connection.dialect.name == "sqlite"
        else func.to_char(func.timezone("UTC", results.c.ended_at), "YYYY-MM-DD", type_=String)
    )
    # A subquery, so that grouping names columns and not the expressions a second time.
    rows = (
        select(
            batches.c.project_id,
            day.label("day"),
            *(func.coalesce(results.c[name], "").label(name) for name in _KEY[2:]),
            _count(results.c.status == "completed").label("completed"),
            _count(results.c.climbs > 0).label("climbed"),
            _count(results.c.rescued).label("rescued"),
            _count(results.c.cached).label("cached"),
            results.c.cost_nusd,
            results.c.saved_nusd,
            results.c.strongest_nusd,
        )
        .select_from(batches)
        .join(results, results.c.job_id.between(first, first + literal_column(str(_LAST_LINE))))
        .where(batches.c.number.in_(numbers))
        .subquery()
    )
    key = [rows.c[name] for name in _KEY]
    added = [func.sum(rows.c[name]).label(name) for name in SUMS if name != "jobs"]
    query = select(*key, func.count().label("jobs"), *added).group_by(*key).order_by(*key)
    found = connection.execute(query).mappings()
    return [
        {name: row[name] if name in _KEY else int(row[name]) for name in (*_KEY, *SUMS)}
        for row in found
    ]


def add(
    connection: Connection, ended: Ended, sums: Sequence[dict[str, Any]], now: datetime
) -> bool:
    """Add the sums of batches and mark these; False, and nothing is added, where one of them is
    summed up by now or was reopened since.
    """
    query = (
        select(batches.c.number, _ENDED_AT.label("ended_at"))
        .where(batches.c.number.in_(list(ended)), text(UNSUMMED_BATCH))
        .order_by(batches.c.number)
        .with_for_update()
    )
    if {row.number: row.ended_at for row in connection.execute(query)} != ended:
        return False
    add_rows(connection, outcome_days, sums)
    connection.execute(
        update(batches).where(batches.c.number.in_(list(ended))).values(summed_at=now)
    )
    return True


def summed(connection: Connection, number: int) -> Summed:
    """What of a batch is in the sums by now."""
    query = select(batches.c.summed_at).where(batches.c.number == number)
    summed_at = connection.execute(query).scalar_one()
    return Summed(summed_at, [] if summed_at is None else sums_of(connection, [number]))


def take_out(connection: Connection, number: int, read: Summed) -> bool:
    """Subtract a batch that is about to run again; call it before any of its results goes. False,
    and nothing is subtracted, where it was summed up since that was read.
    """
    query = select(batches.c.summed_at).where(batches.c.number == number).with_for_update()
    if connection.execute(query).scalar_one() != read.at:
        return False
    taken = [
        {name: -value if name in SUMS else value for name, value in row.items()}
        for row in read.sums
    ]
    add_rows(connection, outcome_days, taken)
    connection.execute(update(batches).where(batches.c.number == number).values(summed_at=None))
    return True


def _count(condition: Any) -> Any:
    return case((condition, 1), else_=0)
