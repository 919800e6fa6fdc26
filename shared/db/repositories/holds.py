"""What is asked about held jobs and the limits that hold them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, func, literal, select, union_all

from shared.db.repositories.budgets import spent_in
from shared.db.tables import api_keys, batches, jobs, projects
from shared.domain.job import JobStatus


def scopes(connection: Connection) -> list[str]:
    """The scopes that hold jobs; one step of the index a scope, however many jobs each holds."""
    found: list[str] = []
    query = select(func.min(jobs.c.held_scope)).where(jobs.c.status == JobStatus.HELD)
    scope = connection.execute(query).scalar_one()
    while scope is not None:
        found.append(scope)
        scope = connection.execute(query.where(jobs.c.held_scope > scope)).scalar_one()
    return found


def count_held_by(connection: Connection, scope: str) -> int:
    """How many jobs exactly this scope holds."""
    query = (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.status == JobStatus.HELD, jobs.c.held_scope == scope)
    )
    return int(connection.execute(query).scalar_one())


def held_by(connection: Connection, scope: str, limit: int) -> Sequence[Any]:
    """The first jobs (id, need_nusd) that exactly this scope holds, in input order."""
    query = (
        select(jobs.c.id, jobs.c.need_nusd)
        .where(jobs.c.status == JobStatus.HELD, jobs.c.held_scope == scope)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return connection.execute(query).all()


def still_queued(connection: Connection, ids: Collection[int]) -> set[int]:
    """Which of these jobs no worker has taken yet."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.QUEUED)
    return set(connection.execute(query).scalars())


def limited_windows(connection: Connection, day: str, month: str) -> Sequence[Any]:
    """The present windows that have a limit above 0 and spending: project_id, kind, period,
    limit_nusd, spent_nusd.
    """
    queries = []
    for kind, period in (("day", day), ("month", month), ("total", "")):
        limit = projects.c[f"{kind}_limit_nusd"]
        window = (
            select(
                projects.c.id.label("project_id"),
                literal(kind).label("kind"),
                literal(period).label("period"),
                limit.label("limit_nusd"),
                spent_in(projects.c.id, kind, period).label("spent_nusd"),
            )
            .where(limit > 0)
            .subquery()
        )
        queries.append(select(window).where(window.c.spent_nusd.is_not(None)))
    return connection.execute(union_all(*queries)).all()


def project_of_scope(connection: Connection, kind: str, key: str) -> str | None:
    """Whose money a scope holds: its key, or the project of the batch or the API key."""
    table = {"batch": batches, "key": api_keys}.get(kind)
    if table is None:
        return key
    query = select(table.c.project_id).where(table.c.id == key)
    project: str | None = connection.execute(query).scalar_one_or_none()
    return project
