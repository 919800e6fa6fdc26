"""Heartbeats of workers and maintenance: who is alive, and how much it has in hand."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.tables import worker_heartbeats

_FORGOTTEN_AFTER = timedelta(days=1)


def beat(
    connection: Connection,
    worker_id: str,
    kind: str,
    started_at: datetime,
    now: datetime,
    running: int,
) -> None:
    """This process is alive and has that many jobs in hand."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(worker_heartbeats).values(
        id=worker_id[:100], kind=kind, started_at=started_at, seen_at=now, running=running
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={"seen_at": now, "running": running, "started_at": started_at},
        )
    )


def alive(connection: Connection, since: datetime) -> Sequence[Row[Any]]:
    """Processes that were seen since a moment."""
    query = select(worker_heartbeats).where(worker_heartbeats.c.seen_at >= since)
    return connection.execute(query.order_by(worker_heartbeats.c.id)).all()


def forget_old(connection: Connection, now: datetime) -> int:
    """Drop those that were not seen for a day."""
    return connection.execute(
        delete(worker_heartbeats).where(worker_heartbeats.c.seen_at < now - _FORGOTTEN_AFTER)
    ).rowcount
