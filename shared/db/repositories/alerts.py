"""What somebody should look at: a row a matter, from its first sight until its end was told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from shared.db.tables import alerts, webhook_endpoints


def everything(connection: Connection) -> Sequence[Any]:
    """All rows, the oldest matter first; only the leading maintenance writes them."""
    return connection.execute(select(alerts).order_by(alerts.c.since, alerts.c.key)).all()


def raised(connection: Connection) -> Sequence[Any]:
    """Matters that lasted long enough to be told and are not over, the newest first."""
    query = select(alerts).where(alerts.c.raised_at.is_not(None), alerts.c.gone_since.is_(None))
    return connection.execute(query.order_by(alerts.c.raised_at.desc(), alerts.c.key)).all()


def add(connection: Connection, row: Mapping[str, Any]) -> None:
    """A matter seen for the first time."""
    connection.execute(insert(alerts).values(**row))


def change(connection: Connection, key: str, **values: Any) -> None:
    """Write what has changed of a matter."""
    connection.execute(update(alerts).where(alerts.c.key == key).values(**values))


def forget(connection: Connection, key: str) -> None:
    """It is over, and whoever was told of it knows."""
    connection.execute(delete(alerts).where(alerts.c.key == key))


def failing_endpoints(connection: Connection, since: datetime) -> Sequence[Any]:
    """Webhook endpoints (id, project_id, status, failing_since) that have taken nothing since a
    moment or longer.
    """
    own = webhook_endpoints.c
    query = select(own.id, own.project_id, own.status, own.failing_since)
    return connection.execute(query.where(own.failing_since <= since).order_by(own.id)).all()
