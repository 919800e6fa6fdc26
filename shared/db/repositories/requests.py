"""Requests that have ended, from the newest batches backwards: each query reads as many jobs as its
caller allows, so a page costs the same however many there are.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, or_, select

from shared.db.tables import batches, jobs, results
from shared.domain.job import LINE_BITS

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

Span = tuple[int, int]
"""The first and the last id of jobs that lie side by side."""


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


def last_before(connection: Connection, moment: datetime) -> int:
    """The number of the last batch made before a moment, 0 where there is none: numbers rise with
    time, so it is found in some twenty looks at their index.
    """
    last = connection.execute(select(func.max(batches.c.number))).scalar_one() or 0
    first = 0  # made before the moment, or none
    while first < last:
        middle = (first + last + 1) // 2
        made = connection.execute(
            select(batches.c.number, batches.c.created_at)
            .where(batches.c.number <= middle)
            .order_by(batches.c.number.desc())
            .limit(1)
        ).first()
        if made is None or made.created_at < moment:
            first = middle
        else:
            last = made.number - 1
    return first


def ended(
    connection: Connection, spans: Sequence[Span], *, wanted: Mapping[str, Any], limit: int
) -> Sequence[Any]:
    """Ended jobs of these spans, which are given and read from the last to the first; wanted:
    values of FILTERS. Rows hold batch_id, project_id and custom_id beside the result's figures.
    """
    rows: list[Any] = []
    for first, last in spans:
        if len(rows) < limit:
            # One walk back along the results' key, which stops at the limit: of several batches at
            # once all results would be read and sorted.
            within = results.c.job_id.between(first, last)
            query = _ended(within, wanted).limit(limit - len(rows))
            rows += connection.execute(query).all()
    return rows


def ended_of(
    connection: Connection, job_ids: Sequence[int], wanted: Mapping[str, Any]
) -> Sequence[Any]:
    """Those of these jobs that have ended, with their `request` beside the rest."""
    request = select(jobs.c.request).where(jobs.c.id == results.c.job_id).scalar_subquery()
    query = _ended(results.c.job_id.in_(job_ids), wanted).add_columns(request.label("request"))
    return connection.execute(query).all()


def saying(connection: Connection, spans: Sequence[Span], search: str, limit: int) -> Sequence[int]:
    """Ids of jobs of these spans, the last first, with this in their custom_id or anywhere in their
    request, in capitals or not. Reads all jobs of the spans, and nothing else: joined with their
    results they would be read anew for each.
    """
    # In the request's JSON quotes and line ends are escaped, and so must be what is looked for.
    escaped = orjson.dumps(search).decode()[1:-1]
    found: list[int] = []
    for first, last in spans:
        if len(found) < limit:
            query = (
                select(jobs.c.id)
                .where(
                    jobs.c.id.between(first, last),
                    or_(
                        jobs.c.request.icontains(escaped, autoescape=True),
                        jobs.c.custom_id.icontains(search, autoescape=True),
                    ),
                )
                .order_by(jobs.c.id.desc())
                .limit(limit - len(found))
            )
            found += connection.execute(query).scalars()
    return found


def _ended(which: ColumnElement[bool], wanted: Mapping[str, Any]) -> Select[Any]:
    # The names are looked up one by one: joined by merging, they would be read of all jobs that
    # have not ended, too.
    custom_id = select(jobs.c.custom_id).where(jobs.c.id == results.c.job_id)
    number = results.c.job_id.op(">>")(literal_column(str(LINE_BITS)))
    return (
        select(
            *(results.c[name] for name in _REQUEST),
            custom_id.scalar_subquery().label("custom_id"),
            batches.c.id.label("batch_id"),
            batches.c.project_id,
        )
        .select_from(results)
        .join(batches, batches.c.number == number)
        .where(which, *(results.c[name] == value for name, value in wanted.items()))
        .order_by(results.c.job_id.desc())
    )
