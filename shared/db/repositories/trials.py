"""What came of the jobs of a trial, by arm."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from shared.db.tables import attempts, batches, feedback, results
from shared.deciding.trials import Arm, Sums
from shared.domain.job import JobStatus

_LINES = 2**24

FIGURES = ("cost_nusd", "accepted", "feedback", "latency_ms", "climbs")


def sums_of(
    connection: Connection, project_id: str, name: str, since: datetime
) -> dict[Arm, dict[str, Sums]]:
    """Sums over the ended jobs of a project's trial, by arm and figure. accepted: 1 where the
    checks accepted an answer, 0 where they refused all or there is none. latency_ms: of answers
    only. Reads every job of the project that was submitted since the trial began.
    """
    accepted = (
        select(attempts.c.id)
        .where(attempts.c.job_id == results.c.job_id, _accepted(connection))
        .exists()
    )
    trial = _trial(connection)
    figures: dict[str, ColumnElement[Any]] = {
        "cost_nusd": cast(results.c.cost_nusd, Double),
        "accepted": case((accepted, 1.0), else_=0.0),
        "feedback": feedback.c.score,
        "latency_ms": cast(results.c.latency_ms, Double),
        "climbs": cast(results.c.climbs, Double),
    }
    rows = (
        select(trial("arm").label("arm"), *(figures[n].label(n) for n in FIGURES))
        .select_from(
            batches.join(
                results,
                results.c.job_id.between(
                    cast(batches.c.number, BigInteger) * _LINES,
                    cast(batches.c.number, BigInteger) * _LINES + (_LINES - 1),
                ),
            ).outerjoin(feedback, feedback.c.job_id == results.c.job_id)
        )
        .where(
            batches.c.project_id == project_id,
            batches.c.created_at >= since,
            results.c.duplicate_of.is_(None),
            or_(
                results.c.status == JobStatus.COMPLETED.value,
                results.c.status == JobStatus.FAILED.value,
            ),
            trial("name") == name,
        )
        .subquery()
    )
    told = select(
        rows.c.arm,
        *(
            column
            for n in FIGURES
            for column in (
                func.count(rows.c[n]).label(f"{n}_count"),
                func.sum(rows.c[n]).label(f"{n}_total"),
                func.sum(rows.c[n] * rows.c[n]).label(f"{n}_squares"),
            )
        ),
    ).group_by(rows.c.arm)
    found: dict[Arm, dict[str, Sums]] = {arm: {n: Sums() for n in FIGURES} for arm in Arm}
    for row in connection.execute(told).mappings():
        found[Arm(row["arm"])] = {
            n: Sums(
                row[f"{n}_count"],
                float(row[f"{n}_total"] or 0.0),
                float(row[f"{n}_squares"] or 0.0),
            )
            for n in FIGURES
        }
    return found


def _trial(connection: Connection) -> Any:
    decision = type_coerce(results.c.decision, Text)

    def said(name: str) -> ColumnElement[Any]:
        told: ColumnElement[Any]
        if connection.dialect.name == "sqlite":
            told = func.json_extract(decision, f"$.trial.{name}")
        else:
            told = cast(decision, JSON)["trial"][name].as_string()
        return told

    return said


def _accepted(connection: Connection) -> ColumnElement[bool]:
    verdict = type_coerce(attempts.c.verdict, Text)
    told: ColumnElement[bool]
    if connection.dialect.name == "sqlite":
        told = func.json_extract(verdict, "$.accepted", type_=Boolean)
    else:
        told = cast(verdict, JSON)["accepted"].as_boolean()
    return and_(attempts.c.verdict.is_not(None), told.is_(true()))
