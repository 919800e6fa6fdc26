"""What answers cost, per project, model and kind of answer: read for plans, learned of batches."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    case,
    cast,
    delete,
    false,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.repositories.batches import id_range
from shared.db.tables import COST_SUMS, attempts, cost_tallies, jobs, results
from shared.deciding.batch_sums import PaidAnswer
from shared.deciding.cost_tallies import BatchSums, Tally
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.inference import TaskType

Tallies = dict[tuple[str, str], Tally]
"""By model and by kind of answer or a template's mark."""

LOOKED_AT: Final = 20_000
"""Jobs of a batch that sums in SQL look at, at most about: more tell hardly more."""
_READ: Final = 2_000
"""Jobs of a batch whose prompts are read for what their answers cost, at most about."""
_KEPT: Final = 2_000
"""Rows of a project: of templates that were not seen for long nothing is kept."""

_T = cost_tallies.c


def of_project(connection: Connection, project_id: str) -> Tallies:
    """Everything learned in a project."""
    rows = connection.execute(select(cost_tallies).where(_T.project_id == project_id))
    return {(row.model, row.kind): _tally(row) for row in rows}


def answers_of_batch(connection: Connection, number: int, total: int) -> list[PaidAnswer]:
    """What a batch of `total` jobs paid answers for, evenly spread."""
    stride = -(-total // _READ) or 1
    is_last = and_(results.c.model == attempts.c.model, results.c.latency_ms.is_not(None))
    first, last = id_range(number)
    query = (
        select(
            attempts.c.job_id,
            attempts.c.model,
            results.c.task_type,
            jobs.c.request,
            attempts.c.input_tokens,
            attempts.c.output_tokens,
            case((_is_weak(connection), 1), else_=0).label("weak"),
            case((is_last, results.c.latency_ms), else_=None).label("latency_ms"),
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
    )
    return [
        PaidAnswer(
            job_id=row.job_id,
            model=row.model,
            task_type=TaskType(row.task_type),
            request=row.request,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            weak=bool(row.weak),
            latency_ms=row.latency_ms,
        )
        for row in connection.execute(query)
    ]


def add_batch(
    connection: Connection,
    project_id: str,
    learned: dict[tuple[str, str], BatchSums],
    now: datetime,
) -> None:
    """Let a project's tallies have another batch's say; the caller has marked it as learned."""
    query = select(cost_tallies).where(_T.project_id == project_id).with_for_update()
    known = {(row.model, row.kind): row for row in connection.execute(query)}
    for (model, kind), sums in sorted(learned.items()):
        row = known.get((model, kind))
        before = Tally() if row is None else _tally(row)
        passed_s = 0.0 if row is None else (now - row.updated_at).total_seconds()
        after = before.with_batch(Tally.of(sums), passed_s)
        values = {name: getattr(after, name) for name in COST_SUMS} | {"updated_at": now}
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(cost_tallies).values(
            project_id=project_id, model=model, kind=kind, **values
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["project_id", "model", "kind"], set_=values
            )
        )
    if len(known.keys() | learned.keys()) > _KEPT:
        _forget_oldest(connection, project_id)


def _forget_oldest(connection: Connection, project_id: str) -> None:
    of_project = _T.project_id == project_id
    newest = select(_T.updated_at).where(of_project).order_by(_T.updated_at.desc())
    kept_from = connection.execute(newest.offset(_KEPT - 1).limit(1)).scalar_one()
    connection.execute(delete(cost_tallies).where(of_project, _T.updated_at < kept_from))


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
