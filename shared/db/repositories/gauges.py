"""Figures of the whole mill at one moment, for whoever watches it. Each query reads an index of
what is under way, never what has ended, so that it costs the same with ten million rows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)

from shared.db.repositories.budgets import spent_in
from shared.db.repositories.open_intents import are_open
from shared.db.tables import (
    OPEN_BATCH,
    SUBMITTED_BATCH,
    attempts,
    batches,
    outbox,
    projects,
    spend,
    webhook_deliveries,
    worker_heartbeats,
)


def open_batches(connection: Connection) -> Sequence[Any]:
    """Rows (status, priority, count, oldest): batches that have not ended."""
    query = select(
        batches.c.status,
        batches.c.priority,
        func.count().label("count"),
        func.min(batches.c.created_at).label("oldest"),
    ).where(text(f"batches.{OPEN_BATCH}"))
    return connection.execute(query.group_by(batches.c.status, batches.c.priority)).all()


def newest_open(connection: Connection, limit: int) -> Sequence[Any]:
    """Submitted batches that have not ended, the newest first: id, project_id, name, status, total,
    completed, failed, cost_nusd, created_at.
    """
    names = ("id", "project_id", "name", "status", "total", "completed", "failed", "cost_nusd")
    query = (
        select(*(batches.c[name] for name in names), batches.c.created_at)
        .where(text(f"batches.{OPEN_BATCH}"), text(f"batches.{SUBMITTED_BATCH}"))
        .order_by(batches.c.number.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def open_attempts(connection: Connection) -> Sequence[Any]:
    """Rows (project_id, count, reserved_nusd): paid calls under way."""
    query = select(
        attempts.c.project_id,
        func.count().label("count"),
        func.sum(attempts.c.reserved_nusd).label("reserved_nusd"),
    ).where(are_open(connection))
    return connection.execute(query.group_by(attempts.c.project_id)).all()


OTHERS: Final = "(others)"
"""What projects beyond those that are told one by one are called together."""


def windows(connection: Connection, day: str, month: str, most: int) -> Sequence[Any]:
    """Rows (project_id, kind, limit_nusd or None, spent_nusd, unconfirmed_nusd): the present
    windows in which something was spent or is limited, of the `most` projects that spent the most
    this month; those of all others are added up, without a limit, as `OTHERS`.
    """
    this_month = spent_in(projects.c.id, "month", month)
    rank = func.row_number().over(order_by=(func.coalesce(this_month, 0).desc(), projects.c.id))
    limits = [projects.c[f"{kind}_limit_nusd"] for kind in ("day", "month", "total")]
    ranked = select(projects.c.id, *limits, rank.label("rank")).subquery()
    query = union_all(
        *(_sums(ranked, kind, period, most) for kind, period in (("day", day), ("month", month))),
        _sums(ranked, "total", "", most),
    )
    return connection.execute(query.order_by("project_id", "kind")).all()


def _sums(ranked: Subquery, kind: str, period: str, most: int) -> Select[Any]:
    unconfirmed = spent_in(ranked.c.id, kind, period, spend.c.unconfirmed_nusd)
    # Each project's window is looked up: the sums are never read from one end to the other.
    window = select(
        ranked.c.id,
        ranked.c.rank,
        ranked.c[f"{kind}_limit_nusd"].label("limit_nusd"),
        spent_in(ranked.c.id, kind, period).label("spent_nusd"),
        unconfirmed.label("unconfirmed_nusd"),
    ).subquery()
    is_shown = window.c.rank <= most
    name = case((is_shown, window.c.id), else_=OTHERS).label("project_id")
    return (
        select(
            name,
            literal(kind).label("kind"),
            func.max(case((is_shown, window.c.limit_nusd))).label("limit_nusd"),
            _summed(window.c.spent_nusd).label("spent_nusd"),
            _summed(window.c.unconfirmed_nusd).label("unconfirmed_nusd"),
        )
        .where(or_(window.c.limit_nusd.is_not(None), window.c.spent_nusd.is_not(None)))
        .group_by(name)
    )


def _summed(amount: ColumnElement[int]) -> ColumnElement[int]:
    # PostgreSQL's sum of integers is no integer.
    return cast(func.sum(func.coalesce(amount, 0)), BigInteger)


def waiting_events(connection: Connection) -> Any:
    """A row (count, oldest): events that the relay has not taken up."""
    query = select(func.count().label("count"), func.min(outbox.c.created_at).label("oldest"))
    return connection.execute(query.where(outbox.c.relayed_at.is_(None))).one()


def pending_deliveries(connection: Connection) -> Any:
    """A row (count, due): webhooks that are not delivered yet, and when the first is due."""
    query = select(
        func.count().label("count"), func.min(webhook_deliveries.c.next_try_at).label("due")
    )
    return connection.execute(query.where(webhook_deliveries.c.status == "pending")).one()


def processes(connection: Connection, since: datetime) -> Sequence[Any]:
    """Rows (kind, count, running): processes seen since a moment, and the jobs in their hands."""
    query = select(
        worker_heartbeats.c.kind,
        func.count().label("count"),
        func.sum(worker_heartbeats.c.running).label("running"),
    ).where(worker_heartbeats.c.seen_at >= since)
    return connection.execute(query.group_by(worker_heartbeats.c.kind)).all()


def calls_by_provider(connection: Connection) -> Sequence[Any]:
    """Rows (provider, count): paid calls under way."""
    query = select(attempts.c.provider, func.count().label("count"))
    query = query.where(are_open(connection))
    return connection.execute(query.group_by(attempts.c.provider)).all()


def recent_calls(connection: Connection, since_id: str, limit: int) -> Sequence[Any]:
    """Rows (provider, key_id, count, tokens, oldest id) of the newest `limit` calls whose ids are
    not below `since_id`.
    """
    names = ("id", "provider", "key_id", "input_tokens", "output_tokens")
    newest = (
        select(*(attempts.c[name] for name in names))
        .where(attempts.c.id >= since_id)
        .order_by(attempts.c.id.desc())
        .limit(limit)
        .subquery()
    )
    query = select(
        newest.c.provider,
        newest.c.key_id,
        func.count().label("count"),
        func.sum(newest.c.input_tokens + newest.c.output_tokens).label("tokens"),
        func.min(newest.c.id).label("oldest"),
    )
    return connection.execute(query.group_by(newest.c.provider, newest.c.key_id)).all()
