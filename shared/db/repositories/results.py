"""What became of jobs, to be read: pages in input order, a job's whole story, a batch's sums.

A batch's jobs, results and attempts lie together by the job's id, so each reading is one range of
one index; nothing here reads another batch's rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Row,
    Text,
    and_,
    case,
    cast,
    func,
    select,
    type_coerce,
)

from shared.db.bulk import among, listed
from shared.db.repositories.batches import id_range
from shared.db.tables import attempts, jobs, results
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.job import job_id_of


@dataclass(frozen=True, slots=True)
class JobStory:
    """A job, its attempts in the order they were made, and its result once it ended."""

    job: Row[Any]
    result: Row[Any] | None
    attempts: Sequence[Row[Any]]


class ResultRow(NamedTuple):
    """What a result line is made of. A named tuple: a million of them are read in one export."""

    job_id: int
    status: str
    model: str | None
    provider: str | None
    tier: str | None
    task_type: str | None
    difficulty: int | None
    finish_reason: str | None
    attempts: int
    climbs: int
    cached: bool
    duplicate_of: int | None
    cost_nusd: int
    saved_nusd: int
    latency_ms: int | None
    body: str | None
    custom_id: str | None
    error: dict[str, Any] | None


_PIECE_ROWS: Final = 200
_STORED_ERROR: Final = type_coerce(results.c.error, Text)
_LINE_COLUMNS: Final = (
    *(results.c[name] for name in ResultRow._fields[:-2]),
    jobs.c.custom_id,
    _STORED_ERROR,
)


def pieces(
    connection: Connection,
    number: int,
    *,
    after_line: int = 0,
    limit: int,
    answered: bool | None = None,
) -> Iterator[list[ResultRow]]:
    """A batch's ended jobs in input order, those after a line, at most `limit` of them, in pieces
    of which only one is held at a time; answered: only those with an answer, or only those without.
    """
    _, last = id_range(number)
    first = job_id_of(number, after_line) + 1
    query = (
        select(*_LINE_COLUMNS)
        .join(jobs, jobs.c.id == results.c.job_id)
        # Said of both: PostgreSQL may join by merging, and would read the jobs from the first on.
        .where(results.c.job_id.between(first, last), jobs.c.id.between(first, last))
        .order_by(results.c.job_id)
        .limit(limit)
        .execution_options(yield_per=_PIECE_ROWS)
    )
    if answered is not None:
        query = query.where(results.c.body.is_not(None) if answered else results.c.body.is_(None))
    with connection.execute(query) as found:
        for rows in found.partitions():
            yield [_result_row(row) for row in rows]


def _result_row(row: Row[Any]) -> ResultRow:
    made = ResultRow._make(row)
    if made.error is None:
        return made
    stored: Any = made.error  # still the text that the column holds
    return made._replace(error=orjson.loads(stored))


def bodies(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The answers of those of these jobs that have one, as they are stored."""
    query = select(results.c.job_id, results.c.body).where(
        among(connection, results.c.job_id, "ids"), results.c.body.is_not(None)
    )
    found = connection.execute(query, {"ids": listed(connection, ids)})
    return {row.job_id: row.body for row in found}


def rejected(connection: Connection, number: int, limit: int) -> Sequence[Any]:
    """(job_id, custom_id, error) of the lines that were refused at intake, in input order."""
    query = (
        select(results.c.job_id, jobs.c.custom_id, results.c.error)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(
            results.c.job_id.between(*id_range(number)),
            jobs.c.id.between(*id_range(number)),
            jobs.c.request.is_(None),
        )
        .order_by(results.c.job_id)
        .limit(limit)
    )
    return connection.execute(query).all()


def story(connection: Connection, job_id: int) -> JobStory | None:
    """All that is known of a job; None where there is no such job."""
    job = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if job is None:
        return None
    result = connection.execute(select(results).where(results.c.job_id == job_id)).one_or_none()
    made = connection.execute(
        select(attempts)
        .where(attempts.c.job_id == job_id)
        .order_by(attempts.c.ordinal, attempts.c.started_at)
    ).all()
    return JobStory(job, result, made)


def by_model(connection: Connection, number: int) -> Sequence[Any]:
    """Priced attempts of a batch by model and provider, the dearest first: attempts, cost_nusd,
    input_tokens (cached ones among them), cached_tokens, output_tokens, reasoning_tokens.
    """
    cost = func.sum(attempts.c.cost_nusd)
    query = (
        select(
            attempts.c.model,
            attempts.c.provider,
            func.count().label("attempts"),
            cost.label("cost_nusd"),
            func.sum(attempts.c.input_tokens).label("input_tokens"),
            func.sum(attempts.c.cached_tokens).label("cached_tokens"),
            func.sum(attempts.c.output_tokens).label("output_tokens"),
            func.sum(attempts.c.reasoning_tokens).label("reasoning_tokens"),
        )
        .where(_attempts_of(number), attempts.c.status != AttemptStatus.OPEN)
        .group_by(attempts.c.model, attempts.c.provider)
        .order_by(cost.desc(), attempts.c.model, attempts.c.provider)
    )
    return connection.execute(query).all()


def by_outcome(connection: Connection, number: int) -> Sequence[Any]:
    """Attempts that gave no answer by status and error_kind: attempts, cost_nusd."""
    query = (
        select(
            attempts.c.status,
            attempts.c.error_kind,
            func.count().label("attempts"),
            func.sum(attempts.c.cost_nusd).label("cost_nusd"),
        )
        .where(
            _attempts_of(number),
            attempts.c.status.in_([AttemptStatus.FREE, AttemptStatus.UNCONFIRMED]),
        )
        .group_by(attempts.c.status, attempts.c.error_kind)
        .order_by(attempts.c.status, attempts.c.error_kind)
    )
    return connection.execute(query).all()


def by_task_type(connection: Connection, number: int) -> Sequence[Any]:
    """Ended jobs of a batch that were classified, by task_type: jobs, completed, cost_nusd."""
    completed = func.sum(case((results.c.status == "completed", 1), else_=0))
    query = (
        select(
            results.c.task_type,
            func.count().label("jobs"),
            completed.label("completed"),
            func.sum(results.c.cost_nusd).label("cost_nusd"),
        )
        .where(_results_of(number), results.c.task_type.is_not(None))
        .group_by(results.c.task_type)
        .order_by(results.c.task_type)
    )
    return connection.execute(query).all()


def climbing(connection: Connection, number: int) -> Any:
    """One row of sums over the ended jobs: climbs, rescued, strongest_nusd."""
    query = select(
        func.coalesce(func.sum(results.c.climbs), 0).label("climbs"),
        func.coalesce(func.sum(case((results.c.rescued, 1), else_=0)), 0).label("rescued"),
        func.coalesce(func.sum(results.c.strongest_nusd), 0).label("strongest_nusd"),
    ).where(_results_of(number))
    return connection.execute(query).one()


def climb_cost_nusd(connection: Connection, number: int) -> int:
    """What the attempts above the first rung cost."""
    query = select(func.coalesce(func.sum(attempts.c.cost_nusd), 0)).where(
        _attempts_of(number), attempts.c.rung > 0, attempts.c.purpose == Purpose.ANSWER
    )
    return int(connection.execute(query).scalar_one())


_EPOCH_JULIAN_DAY: Final = 2_440_587.5


def cost_over_time(connection: Connection, number: int, span_s: float) -> Sequence[Any]:
    """Ended attempts of a batch by equal spans of time, oldest first: span (Unix seconds divided by
    `span_s`), attempts, cost_nusd.
    """
    seconds: ColumnElement[Any]
    if connection.dialect.name == "sqlite":
        seconds = (func.julianday(attempts.c.ended_at) - _EPOCH_JULIAN_DAY) * 86_400
    else:
        seconds = cast(func.extract("epoch", attempts.c.ended_at), Double)
    # A subquery, so that grouping names a column and not the expression a second time.
    rows = (
        select(cast(func.floor(seconds / span_s), BigInteger).label("span"), attempts.c.cost_nusd)
        .where(_attempts_of(number), attempts.c.ended_at.is_not(None))
        .subquery()
    )
    query = (
        select(
            rows.c.span,
            func.count().label("attempts"),
            func.sum(rows.c.cost_nusd).label("cost_nusd"),
        )
        .group_by(rows.c.span)
        .order_by(rows.c.span)
    )
    return connection.execute(query).all()


def above_reservation(connection: Connection, number: int) -> Any:
    """Attempts for which the provider reported more than was reserved: how many, and by how much
    in all (`attempts`, `excess_nusd`).
    """
    query = select(
        func.count().label("attempts"),
        func.coalesce(func.sum(attempts.c.cost_nusd - attempts.c.reserved_nusd), 0).label(
            "excess_nusd"
        ),
    ).where(_attempts_of(number), attempts.c.cost_nusd > attempts.c.reserved_nusd)
    return connection.execute(query).one()


def by_error(connection: Connection, number: int) -> Sequence[Any]:
    """Jobs that ended without an answer, by the code of their error: code, jobs, cost_nusd."""
    text = type_coerce(results.c.error, Text)
    code: ColumnElement[Any]
    if connection.dialect.name == "sqlite":
        code = func.json_extract(text, "$.code")
    else:
        code = cast(text, JSON)["code"].as_string()
    # A subquery, so that grouping names a column and not the expression a second time.
    rows = (
        select(code.label("code"), results.c.cost_nusd)
        .where(and_(_results_of(number), results.c.error.is_not(None)))
        .subquery()
    )
    jobs_count = func.count()
    query = (
        select(
            rows.c.code,
            jobs_count.label("jobs"),
            func.sum(rows.c.cost_nusd).label("cost_nusd"),
        )
        .group_by(rows.c.code)
        .order_by(jobs_count.desc(), rows.c.code)
    )
    return connection.execute(query).all()


def _attempts_of(number: int) -> ColumnElement[bool]:
    return attempts.c.job_id.between(*id_range(number))


def _results_of(number: int) -> ColumnElement[bool]:
    return results.c.job_id.between(*id_range(number))
