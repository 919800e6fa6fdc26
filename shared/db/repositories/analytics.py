"""Looking back: what was used by day, model, provider, project and purpose, and single requests.

Sums come from `usage`, which has a few rows a day; requests from the newest batches backwards, so
a page costs the same however many there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from shared.db.tables import batches, jobs, results, usage
from shared.domain.job import MAX_LINES

DIMENSIONS: Final = ("day", "model", "provider", "project", "purpose")
SUMS: Final = (
    "attempts",
    "without_answer",
    "cost_nusd",
    "unconfirmed_nusd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def used(
    connection: Connection,
    dimensions: Sequence[str],
    *,
    project_id: str | None,
    first_day: str,
    last_day: str,
    limit: int,
) -> Sequence[Any]:
    """Rows of the dimensions and SUMS between two days (both included), in the dimensions' order;
    project_id None: of all projects. Without dimensions there is one row.
    """
    columns = [_column(name).label(name) for name in dimensions]
    sums = [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in SUMS]
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
    first = batches.c.number * (MAX_LINES + 1)
    between = results.c.job_id.between(first, first + MAX_LINES)
    query = (
        select(
            *(results.c[name] for name in _REQUEST),
            jobs.c.custom_id,
            batches.c.id.label("batch_id"),
            batches.c.project_id,
        )
        .join(batches, between)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(batches.c.number.in_(numbers), *(results.c[n] == v for n, v in wanted.items()))
        .order_by(results.c.job_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(results.c.job_id < before)
    return connection.execute(query).all()
