"""How good answers were, per project, model and task type; and what people said of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    cast,
    delete,
    func,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.bulk import among, listed
from shared.db.repositories.batches import id_range
from shared.db.repositories.cost_tallies import LOOKED_AT
from shared.db.tables import (
    EVIDENCE_SUMS,
    UNLEARNED_FEEDBACK,
    attempts,
    feedback,
    outcome_tallies,
    results,
)
from shared.deciding.agreement import JUDGE
from shared.deciding.learning import Evidence
from shared.deciding.rubric import JUDGE as RUBRIC
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.inference import TaskType

Outcomes = dict[tuple[str, TaskType], Evidence]

COMPARED: Final = 2_000
"""Answers of a batch that are compared with a stronger model's, at most."""

_T = outcome_tallies.c


def of_project(connection: Connection, project_id: str, now: datetime) -> Outcomes:
    """Everything learned in a project, for what it is still worth."""
    return {
        (row.model, TaskType(row.task_type)): _evidence(row, now)
        for row in rows_of(connection, project_id)
    }


def rows_of(connection: Connection, project_id: str) -> Sequence[Any]:
    """The same as it stands, by model and task type, with `updated_at`."""
    query = select(outcome_tallies).where(_T.project_id == project_id)
    return connection.execute(query.order_by(_T.model, _T.task_type)).all()


def judged_in_batch(connection: Connection, number: int, total: int) -> Outcomes:
    """What the judges said of a batch's answers (of some 20,000 of its `total` jobs at most)."""
    stride = max(1, total // LOOKED_AT)
    first, last = id_range(number)
    accepted, judge = _said(connection, "accepted"), _said(connection, "judge")
    # A subquery, so that grouping names columns and not the expressions a second time.
    rows = (
        select(
            attempts.c.model,
            results.c.task_type,
            results.c.difficulty,
            accepted.label("accepted"),
            judge.label("judge"),
            _said(connection, "of").label("of"),
        )
        .join(results, results.c.job_id == attempts.c.job_id)
        .where(
            attempts.c.job_id.between(first, last),
            results.c.job_id.between(first, last),
            attempts.c.job_id % stride == 0,
            attempts.c.status == AttemptStatus.BILLED,
            attempts.c.verdict.is_not(None),
            attempts.c.purpose != Purpose.CLASSIFY,
            results.c.task_type.is_not(None),
        )
        .subquery()
    )
    model = func.coalesce(rows.c.of, rows.c.model).label("model")
    query = select(
        model,
        rows.c.task_type,
        rows.c.accepted,
        rows.c.judge,
        func.count().label("answers"),
        func.sum(rows.c.difficulty).label("difficulty"),
    ).group_by(model, rows.c.task_type, rows.c.accepted, rows.c.judge)
    found: Outcomes = defaultdict(Evidence)
    for row in connection.execute(query):
        found[row.model, TaskType(row.task_type)] = found[row.model, TaskType(row.task_type)].plus(
            _judged(row)
        )
    return dict(found)


@dataclass(frozen=True, slots=True)
class Checks:
    """Answers of a batch that were bought to check others by, and what they came to.

    saved_nusd: of jobs that started lower for it, what the usual model would have cost where both
    agreed, less all that was paid until then.
    """

    checks: int = 0
    agreed: int = 0
    cost_nusd: int = 0
    saved_nusd: int = 0


def checks_in_batch(connection: Connection, number: int) -> Checks:
    """The sums over a batch's checks by agreement."""
    accepted, saved = _said(connection, "accepted"), _said(connection, "saved_nusd")
    rows = (
        select(
            accepted.label("accepted"),
            attempts.c.cost_nusd,
            cast(saved, BigInteger).label("saved_nusd"),
        )
        .where(
            attempts.c.job_id.between(*id_range(number)),
            attempts.c.purpose == Purpose.JUDGE,
            attempts.c.verdict.is_not(None),
            _said(connection, "judge") == JUDGE,
        )
        .subquery()
    )
    query = select(
        rows.c.accepted,
        func.count().label("checks"),
        func.sum(rows.c.cost_nusd).label("cost_nusd"),
        func.coalesce(func.sum(rows.c.saved_nusd), 0).label("saved_nusd"),
    ).group_by(rows.c.accepted)
    found = connection.execute(query).all()
    return Checks(
        sum(row.checks for row in found),
        sum(row.checks for row in found if row.accepted in {1, "true"}),
        sum(int(row.cost_nusd) for row in found),
        sum(int(row.saved_nusd) for row in found),
    )


def compared_in_batch(connection: Connection, number: int) -> Sequence[Any]:
    """Answers that were bought for comparison alone, or that another one differed from, beside the
    answer their jobs got: model, tier, answer, and of the result end_tier, task_type and body.
    """
    check = attempts.alias()
    differed = (
        select(check.c.id)
        .where(
            check.c.job_id == attempts.c.job_id,
            check.c.purpose == Purpose.JUDGE,
            check.c.answer.is_(None),
        )
        .exists()
    )
    query = (
        select(
            attempts.c.model,
            attempts.c.tier,
            attempts.c.answer,
            results.c.tier.label("end_tier"),
            results.c.task_type,
            results.c.body,
        )
        .join(results, results.c.job_id == attempts.c.job_id)
        .where(
            attempts.c.job_id.between(*id_range(number)),
            results.c.job_id.between(*id_range(number)),
            attempts.c.tier != results.c.tier,
            or_(attempts.c.purpose == Purpose.JUDGE, and_(attempts.c.rung == 0, differed)),
            and_(attempts.c.answer.is_not(None), results.c.body.is_not(None)),
            results.c.task_type.is_not(None),
        )
        .order_by(attempts.c.job_id)
        .limit(COMPARED)
    )
    return connection.execute(query).all()


def add(
    connection: Connection, project_id: str, learned: Mapping[Any, Evidence], now: datetime
) -> None:
    """Let a project's tallies have more to say; the caller marks where it came from."""
    query = select(outcome_tallies).where(_T.project_id == project_id).with_for_update()
    known = {(row.model, TaskType(row.task_type)): row for row in connection.execute(query)}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    for (model, task_type), evidence in sorted(learned.items()):
        row = known.get((model, task_type))
        after = evidence if row is None else _evidence(row, now).plus(evidence)
        # A word that was taken back may be worth less by now than it was.
        values = {name: max(0.0, getattr(after, name)) for name in EVIDENCE_SUMS}
        values |= {"updated_at": now}
        statement = dialect.insert(outcome_tallies).values(
            project_id=project_id, model=model, task_type=task_type.value, **values
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["project_id", "model", "task_type"], set_=values
            )
        )


def forget(
    connection: Connection, project_id: str, model: str | None, task_type: TaskType | None
) -> int:
    """Begin anew: for one model, one task type, or all. Returns how many tallies went."""
    mine = [_T.project_id == project_id]
    if model is not None:
        mine.append(_T.model == model)
    if task_type is not None:
        mine.append(_T.task_type == task_type.value)
    return connection.execute(delete(outcome_tallies).where(*mine)).rowcount


def say(
    connection: Connection, job_id: int, project_id: str, result: Any, score: float, now: datetime
) -> None:
    """Keep what somebody says of a job's answer (its row of `results`); the last word counts."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(feedback).values(
        job_id=job_id,
        project_id=project_id,
        model=result.model,
        task_type=result.task_type,
        difficulty=result.difficulty or 0,
        score=score,
        given_at=now,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id"], set_={"score": score, "given_at": now}
        )
    )


def score_of(connection: Connection, job_id: int) -> float | None:
    """What somebody said of a job's answer."""
    query = select(feedback.c.score).where(feedback.c.job_id == job_id)
    return connection.execute(query).scalar_one_or_none()


def has_unlearned_feedback(connection: Connection) -> bool:
    """Whether there are any words that the tallies do not know."""
    query = select(feedback.c.job_id).where(text(UNLEARNED_FEEDBACK)).limit(1)
    return connection.execute(query).first() is not None


def unlearned_feedback(connection: Connection, limit: int) -> Sequence[Any]:
    """Rows of feedback that the tallies do not know, locked."""
    query = (
        select(feedback)
        .where(text(UNLEARNED_FEEDBACK))
        .order_by(feedback.c.job_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).all()


def mark_feedback_learned(connection: Connection, ids: Sequence[int]) -> None:
    """The tallies know these, as they stand, in the caller's transaction."""
    connection.execute(
        update(feedback)
        .where(among(connection, feedback.c.job_id, "ids"))
        .values(learned_score=feedback.c.score),
        {"ids": listed(connection, ids)},
    )


def _evidence(row: Row[Any], now: datetime) -> Evidence:
    kept = Evidence(*(getattr(row, name) for name in EVIDENCE_SUMS))
    return kept.after((now - row.updated_at).total_seconds())


def _judged(row: Row[Any]) -> Evidence:
    seen = {"seen": float(row.answers), "difficulties": float(row.difficulty or 0) / 1000.0}
    accepted = row.accepted in (True, 1, "true")
    if row.judge == JUDGE:
        # Where they differ, either may be wrong: the stronger model's answer tells which.
        return Evidence(agreed=float(row.answers)) if accepted else Evidence()
    if row.judge == RUBRIC:
        # A judge's word counts half: it is paid to see what is said, not whether it is right.
        return Evidence(**{"good" if accepted else "bad": float(row.answers) / 2.0})
    return Evidence(**{"passed" if accepted else "refused": float(row.answers)}, **seen)


def _said(connection: Connection, name: str) -> ColumnElement[Any]:
    """A field of an attempt's verdict."""
    verdict = type_coerce(attempts.c.verdict, Text)
    said: ColumnElement[Any]
    if connection.dialect.name == "sqlite":
        said = func.json_extract(verdict, f"$.{name}")
    else:
        said = cast(verdict, JSON)[name].as_string()
    return said
