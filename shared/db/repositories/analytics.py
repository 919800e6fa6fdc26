"""Looking back: what was used by day, model, provider, project and purpose, and single requests.

Sums come from `usage`, which has a few rows a day; requests from the newest batches backwards, so
a page costs the same however many there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from shared.db.repositories.attempts import USAGE_SUMS
from shared.db.repositories.outcome_days import SUMS
from shared.db.tables import batches, jobs, results, usage
from shared.db.tables import outcome_days as outcome_days_table
from shared.domain.job import LINE_BITS, job_id_of

DIMENSIONS: Final = ("day", "model", "provider", "project", "purpose", "task_type")


def used(
    connection: Connection,
    dimensions: Sequence[str],
    *,
    project_id: str | None,
    first_day: str,
    last_day: str,
    limit: int,
) -> Sequence[Any]:
    """Rows of the dimensions and USAGE_SUMS between two days (both included), in that order;
    project_id None: of all projects. Without dimensions there is one row.
    """
    columns = [_column(name).label(name) for name in dimensions]
    sums = [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in USAGE_SUMS]
    query = select(*columns, *sums).where(usage.c.day.between(first_day, last_day))
    if project_id is not None:
        query = query.where(usage.c.project_id == project_id)
    if columns:
        named = [_column(name) for name in dimensions]
        query = query.group_by(*named).order_by(*named).limit(limit)
    return connection.execute(query).all()


def _column(dimension: str) -> ColumnElement[Any]:
    return usage.c["project_id" if dimension == "project" else dimension]


def batch_totals(connection: Connection, project_id: str | None) -> Any:
    """A row of sums over batches: batches, jobs, completed, failed, cancelled, expired."""
    names = ("total", "completed", "failed", "cancelled", "expired")
    sums = [func.coalesce(func.sum(batches.c[name]), 0).label(name) for name in names]
    query = select(func.count().label("batches"), *sums)
    if project_id is not None:
        query = query.where(batches.c.project_id == project_id)
    return connection.execute(query).one()


FILTERS: Final = ("status", "model", "provider", "tier", "task_type", "cached")
_REQUEST: Final = (
    "job_id",
    "status",
    "model",
    "provider",
    "tier",
    "task_type",
    "difficulty",
    "attempts",
    "climbs",
    "cached",
    "cost_nusd",
    "saved_nusd",
    "latency_ms",
    "ended_at",
)


def newest_batches(
    connection: Connection, project_id: str | None, up_to: int | None, limit: int
) -> Sequence[Any]:
    """(number, total) of batches from `up_to` (the newest) backwards."""
    query = select(batches.c.number, batches.c.total).order_by(batches.c.number.desc())
    if project_id is not None:
        query = query.where(batches.c.project_id == project_id)
    if up_to is not None:
        query = query.where(batches.c.number <= up_to)
    return connection.execute(query.limit(limit)).all()


def ended_requests(
    connection: Connection,
    numbers: Sequence[int],
    *,
    before: int | None,
    wanted: Mapping[str, Any],
    limit: int,
) -> Sequence[Any]:
    """Ended jobs of these batches, the last lines first, those before a job's id; wanted: values
    of FILTERS. Rows hold batch_id, project_id and custom_id beside the figures of the result.
    """
    rows: list[Any] = []
    for oldest, newest in _runs(numbers):
        first, last = job_id_of(oldest, 0), job_id_of(newest + 1, 0) - 1
        if before is not None:
            last = min(last, before - 1)
        if len(rows) < limit:
            rows += _ended_between(connection, first, last, wanted, limit - len(rows))
    return rows


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The numbers as runs without a gap (first, last), the newest run first."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers), reverse=True):
        if runs and runs[-1][0] == number + 1:
            runs[-1] = (number, runs[-1][1])
        else:
            runs.append((number, number))
    return runs


def _ended_between(
    connection: Connection, first: int, last: int, wanted: Mapping[str, Any], limit: int
) -> Sequence[Any]:
    # One walk back along the results' key, which stops at the limit: of several batches at once all
    # results would be read and sorted. The names are looked up one by one: joined by merging, they
    # would be read of all jobs that have not ended, too.
    custom_id = select(jobs.c.custom_id).where(jobs.c.id == results.c.job_id)
    number = results.c.job_id.op(">>")(literal_column(str(LINE_BITS)))
    query = (
        select(
            *(results.c[name] for name in _REQUEST),
            custom_id.scalar_subquery().label("custom_id"),
            batches.c.id.label("batch_id"),
            batches.c.project_id,
        )
        .select_from(results)
        .join(batches, batches.c.number == number)
        .where(
            results.c.job_id.between(first, last),
            *(results.c[name] == value for name, value in wanted.items()),
        )
        .order_by(results.c.job_id.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


OUTCOME_DIMENSIONS: Final = ("day", "project", "task_type", "model", "tier")


def outcomes(
    connection: Connection,
    dimensions: Sequence[str],
    *,
    project_id: str | None,
    first_day: str,
    last_day: str,
    limit: int,
) -> Sequence[Any]:
    """Rows of OUTCOME_DIMENSIONS and `outcome_days.SUMS`, read as by `used`: jobs of batches that
    ended, by the day on which the job did.
    """
    table = outcome_days_table.c
    named = [table["project_id" if name == "project" else name] for name in dimensions]
    sums = [func.coalesce(func.sum(table[name]), 0).label(name) for name in SUMS]
    columns = [column.label(name) for column, name in zip(named, dimensions, strict=True)]
    query = select(*columns, *sums).where(table.day.between(first_day, last_day))
    if project_id is not None:
        query = query.where(table.project_id == project_id)
    if named:
        # What was taken out again leaves a row of nothing.
        query = query.group_by(*named).having(func.sum(table.jobs) > 0)
        query = query.order_by(*named).limit(limit)
    return connection.execute(query).all()
