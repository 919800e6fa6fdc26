"""What the database knows of money: limits, sums spent, and what open intents may still cost.

This is the truth from which lost Redis counters are rebuilt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from shared.db.repositories.batches import id_range
from shared.db.repositories.open_intents import are_open
from shared.db.tables import api_keys, attempts, batches, budget_announcements, projects, spend
from shared.domain.attempt import AttemptStatus
from shared.domain.job import LINE_BITS, MAX_LINES

WINDOWS = ("day", "month", "total")


@dataclass(frozen=True, slots=True)
class Purse:
    """One scope as the database sees it: its limit (None: unlimited), what was spent, and the
    open intents with their reservations.
    """

    limit_nusd: int | None
    spent_nusd: int
    open_attempts: dict[str, int]


def window_purse(connection: Connection, project_id: str, kind: str, period: str) -> Purse:
    """A project's day, month or total window."""
    limit = connection.execute(
        select(projects.c[f"{kind}_limit_nusd"]).where(projects.c.id == project_id)
    ).scalar_one_or_none()
    query = _in_window(literal(project_id), kind, period, spend.c.spent_nusd)
    spent = connection.execute(query).scalar_one()
    open_query = select(attempts.c.id, attempts.c.reserved_nusd).where(
        are_open(connection), attempts.c.project_id == project_id
    )
    if kind != "total":
        open_query = open_query.where(attempts.c[kind] == period)
    return Purse(limit, spent or 0, _amounts(connection, open_query))


def spent_in(
    project_id: ColumnElement[str],
    kind: str,
    period: str,
    amount: ColumnElement[int] = spend.c.spent_nusd,
) -> ScalarSelect[int]:
    """What a project spent in a window (or another of its amounts), for a query that names the
    project; NULL where it spent nothing.
    """
    return _in_window(project_id, kind, period, amount).correlate_except(spend).scalar_subquery()


def _in_window(
    project_id: ColumnElement[str], kind: str, period: str, amount: ColumnElement[int]
) -> Select[Any]:
    total = cast(func.sum(amount), BigInteger)  # PostgreSQL's sum of integers is no integer
    return select(total).where(
        spend.c.project_id == project_id, spend.c.kind == kind, spend.c.period == period
    )


def batch_purse(connection: Connection, batch_id: str) -> Purse:
    """A batch's cap."""
    row = connection.execute(
        select(batches.c.number, batches.c.max_cost_nusd, batches.c.cost_nusd).where(
            batches.c.id == batch_id
        )
    ).one_or_none()
    if row is None:
        return Purse(0, 0, {})
    open_query = select(attempts.c.id, attempts.c.reserved_nusd).where(
        are_open(connection),
        attempts.c.job_id.between(*id_range(row.number)),
    )
    return Purse(row.max_cost_nusd, row.cost_nusd, _amounts(connection, open_query))


def key_purse(connection: Connection, key_id: str) -> Purse:
    """An API key's spend limit, over all its time."""
    key = connection.execute(
        select(api_keys.c.spend_limit_nusd, api_keys.c.pruned_nusd).where(api_keys.c.id == key_id)
    ).one_or_none()
    if key is None:
        return Purse(0, 0, {})
    kept = connection.execute(
        select(func.coalesce(func.sum(batches.c.cost_nusd), 0)).where(batches.c.key_id == key_id)
    ).scalar_one()
    first = batches.c.number * (1 << LINE_BITS)
    open_query = (
        select(attempts.c.id, attempts.c.reserved_nusd)
        .join(batches, attempts.c.job_id.between(first, first + MAX_LINES))
        .where(are_open(connection), batches.c.key_id == key_id)
    )
    spent_nusd = int(kept) + int(key.pruned_nusd)
    return Purse(key.spend_limit_nusd, spent_nusd, _amounts(connection, open_query))


def set_key_limit(connection: Connection, key_id: str, limit_nusd: int) -> None:
    """Change the spend limit of an API key."""
    connection.execute(
        update(api_keys).where(api_keys.c.id == key_id).values(spend_limit_nusd=limit_nusd)
    )


def _amounts(connection: Connection, query: Any) -> dict[str, int]:
    return {row.id: row.reserved_nusd for row in connection.execute(query)}


def limits(connection: Connection, project_id: str) -> dict[str, int | None]:
    """A project's limits by window."""
    row = connection.execute(select(projects).where(projects.c.id == project_id)).one()
    return {kind: row._mapping[f"{kind}_limit_nusd"] for kind in WINDOWS}  # noqa: SLF001  (public in SQLAlchemy)


def set_limits(connection: Connection, project_id: str, new: dict[str, int | None]) -> None:
    """Change the limits of the windows named."""
    if new:
        connection.execute(
            update(projects)
            .where(projects.c.id == project_id)
            .values({f"{kind}_limit_nusd": limit for kind, limit in new.items()})
        )


def spent(connection: Connection, project_id: str) -> dict[tuple[str, str], tuple[int, int]]:
    """All windows of a project that have spending: (kind, period) -> (spent, unconfirmed)."""
    sums = (func.sum(spend.c.spent_nusd), func.sum(spend.c.unconfirmed_nusd))
    query = (
        select(spend.c.kind, spend.c.period, *sums)
        .where(spend.c.project_id == project_id)
        .group_by(spend.c.kind, spend.c.period)
    )
    return {
        (kind, period): (int(spent), int(unconfirmed))
        for kind, period, spent, unconfirmed in connection.execute(query)
    }


def cost_row_sums(connection: Connection) -> dict[tuple[str, str, str], int]:
    """The cost rows summed by project and window, for the reconciler (reads the whole table)."""
    closed = attempts.c.status != AttemptStatus.OPEN
    sums: dict[tuple[str, str, str], int] = {}
    for kind in ("day", "month"):
        period = attempts.c[kind]
        query = (
            select(attempts.c.project_id, period, func.sum(attempts.c.cost_nusd))
            .where(closed)
            .group_by(attempts.c.project_id, period)
        )
        for project, value, total in connection.execute(query):
            sums[project, kind, value] = int(total)
            if kind == "month":
                key = (project, "total", "")
                sums[key] = sums.get(key, 0) + int(total)
    return sums


def announce_once(
    connection: Connection, scope: str, percent: int, limit_nusd: int, now: datetime
) -> bool:
    """Whether this threshold of this limit has not been announced before; remembers it."""
    row = {
        "scope": scope,
        "percent": percent,
        "limit_nusd": limit_nusd,
        "announced_at": now,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(budget_announcements), row)
    except IntegrityError:
        return False
    return True


def announced(connection: Connection, scopes: Sequence[str]) -> set[tuple[str, int, int]]:
    """(scope, percent, limit) that were announced."""
    query = select(budget_announcements).where(budget_announcements.c.scope.in_(scopes))
    return {(row.scope, row.percent, row.limit_nusd) for row in connection.execute(query)}
