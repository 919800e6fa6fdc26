"""Looking back: what was used by day, model, provider, project, purpose and task type.

Sums come from `usage` and `outcome_days`, which have a few rows a day.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from shared.db.repositories.attempts import USAGE_SUMS
from shared.db.repositories.outcome_days import SUMS
from shared.db.tables import batches, usage
from shared.db.tables import outcome_days as outcome_days_table

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
