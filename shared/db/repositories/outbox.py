"""The outbox: events that commit together with what they announce; the relay takes them on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from shared.db.tables import outbox
from shared.ids import new_id


def add(
    connection: Connection,
    project_id: str,
    event_type: str,
    data: Mapping[str, Any],
    now: datetime,
) -> str:
    """Write an event in the transaction that makes it true; returns its id."""
    event_id = new_id("evt")
    connection.execute(
        insert(outbox),
        {
            "id": event_id,
            "project_id": project_id,
            "type": event_type,
            "data": dict(data),
            "created_at": now,
        },
    )
    return event_id


def waiting(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Events that were not relayed yet, oldest first."""
    query = (
        select(outbox)
        .where(outbox.c.relayed_at.is_(None))
        .order_by(outbox.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).all()


def mark_relayed(connection: Connection, numbers: Sequence[int], now: datetime) -> None:
    """These have their deliveries."""
    connection.execute(update(outbox).where(outbox.c.number.in_(numbers)).values(relayed_at=now))
