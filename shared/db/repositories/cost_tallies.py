"""What answers cost, per project, model and task type: read for plans, written when batches end."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    LargeBinary,
    Row,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.repositories.batches import id_range
from shared.db.tables import COST_SUMS, attempts, cost_tallies, jobs, results
from shared.deciding.expectations import FRAME_BYTES, BatchSums, Tally
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.inference import TaskType

Tallies = dict[tuple[str, TaskType], Tally]

LOOKED_AT: Final = 20_000
"""Jobs of a batch that are looked at, at most about: more tell hardly more."""

_T = cost_tallies.c


def of_project(connection: Connection, project_id: str) -> Tallies:
    """Everything learned in a project."""
    rows = connection.execute(select(cost_tallies).where(_T.project_id == project_id))
    return {(row.model, TaskType(row.task_type)): _tally(row) for row in rows}


def sums_of_batch(
    connection: Connection, number: int, total: int
) -> dict[tuple[str, TaskType], BatchSums]:
    """What the answers of a batch of `total` jobs cost, by model and task type."""
    stride = max(1, total // LOOKED_AT)
    output = attempts.c.output_tokens
    size = func.octet_length(jobs.c.request)
    if connection.dialect.name == "sqlite":
        size = func.length(cast(jobs.c.request, LargeBinary))
    is_last = and_(results.c.model == attempts.c.model, results.c.latency_ms.is_not(None))
    first, last = id_range(number)
    query = (
        select(
            attempts.c.model,
            results.c.task_type,
            func.count().label("answers"),
            func.sum(output).label("output_tokens"),
            func.sum(cast(output, Double) * output).label("output_squares"),
            func.sum(attempts.c.input_tokens).label("input_tokens"),
            func.sum(size - FRAME_BYTES).label("input_bytes"),
            func.sum(case((_is_weak(connection), 1), else_=0)).label("weak"),
            func.sum(case((is_last, results.c.latency_ms), else_=0)).label("latency_ms"),
            func.sum(case((is_last, 1), else_=0)).label("timed"),
        )
        .join(results, results.c.job_id == attempts.c.job_id)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(
            attempts.c.job_id.between(first, last),
            results.c.job_id.between(first, last),
            jobs.c.id.between(first, last),
            attempts.c.job_id % stride == 0,
            attempts.c.status == AttemptStatus.BILLED,
            attempts.c.purpose == Purpose.ANSWER,
            results.c.task_type.is_not(None),
        )
        .group_by(attempts.c.model, results.c.task_type)
    )
    return {
        (row.model, TaskType(row.task_type)): BatchSums(
            answers=row.answers,
            output_tokens=int(row.output_tokens),
            output_squares=float(row.output_squares),
            input_tokens=int(row.input_tokens),
            input_bytes=max(0, int(row.input_bytes)),
            weak=int(row.weak),
            latency_ms=int(row.latency_ms),
            timed=int(row.timed),
        )
        for row in connection.execute(query)
    }


def add_batch(
    connection: Connection,
    project_id: str,
    learned: dict[tuple[str, TaskType], BatchSums],
    now: datetime,
) -> None:
    """Let a project's tallies have another batch's say; the caller has marked it as learned."""
    query = select(cost_tallies).where(_T.project_id == project_id).with_for_update()
    known = {(row.model, TaskType(row.task_type)): row for row in connection.execute(query)}
    for (model, task_type), sums in sorted(learned.items()):
        row = known.get((model, task_type))
        before = Tally() if row is None else _tally(row)
        passed_s = 0.0 if row is None else (now - row.updated_at).total_seconds()
        after = before.with_batch(Tally.of(sums), passed_s)
        values = {name: getattr(after, name) for name in COST_SUMS} | {"updated_at": now}
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(cost_tallies).values(
            project_id=project_id, model=model, task_type=task_type.value, **values
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["project_id", "model", "task_type"], set_=values
            )
        )


def _tally(row: Row[Any]) -> Tally:
    return Tally(*(getattr(row, name) for name in COST_SUMS))


def _is_weak(connection: Connection) -> ColumnElement[bool]:
    """Whether the judge refused an attempt's answer."""
    verdict = type_coerce(attempts.c.verdict, Text)
    accepted: ColumnElement[bool]
    if connection.dialect.name == "sqlite":
        accepted = func.json_extract(verdict, "$.accepted", type_=Boolean)
    else:
        accepted = cast(verdict, JSON)["accepted"].as_boolean()
    return accepted.is_(false())
