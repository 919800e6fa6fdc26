"""The deliveries owed to webhook endpoints, and the log of every try.

A delivery is claimed by a token and a time: a dispatcher that dies loses nothing, its deliveries
are due again when that time is over. What it still wants to write then finds another token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.repositories import webhook_endpoints as endpoints
from shared.db.tables import webhook_deliveries, webhook_endpoints, webhook_tries
from shared.errors import ConflictError, NotFoundError
from shared.ids import claim_token, new_id

DeliveryRow = Row[Any]

_E = webhook_endpoints.c
_D = webhook_deliveries.c


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An event owed to an endpoint; `payload` is what will be signed and sent."""

    endpoint_id: str
    event_id: str
    event_type: str
    payload: str


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery under a dispatcher's claim; `secrets` has two while a rotation overlaps."""

    id: str
    endpoint_id: str
    url: str
    secrets: tuple[str, ...]
    event_id: str
    payload: str
    tries: int
    claim_token: str
    created_at: datetime


def add(connection: Connection, new: Sequence[NewDelivery], now: datetime) -> int:
    """Owe these, due at once; what is owed already stays as it is. Returns how many are new."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(webhook_deliveries).on_conflict_do_nothing(
        index_elements=["endpoint_id", "event_id"]
    )
    created = 0
    for delivery in new:
        created += connection.execute(
            statement.values(
                id=new_id("whd"),
                endpoint_id=delivery.endpoint_id,
                event_id=delivery.event_id,
                event_type=delivery.event_type,
                payload=delivery.payload,
                status="pending",
                next_try_at=now,
                created_at=now,
            )
        ).rowcount
    return created


def due_endpoints(connection: Connection, now: datetime) -> Sequence[str]:
    """Endpoints that have a delivery due, the longest overdue first."""
    # As an expression, or SQLite would group by reading all deliveries in the endpoints' order.
    endpoint = func.coalesce(_D.endpoint_id, literal_column("''")).label("endpoint")
    query = (
        select(endpoint)
        .where(_D.status == "pending", _D.next_try_at <= now)
        .group_by(endpoint)
        .order_by(func.min(_D.next_try_at))
    )
    return connection.execute(query).scalars().all()


def claim_due(
    connection: Connection, endpoint_id: str, now: datetime, lease: timedelta, limit: int
) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries of an endpoint; they are due again after `lease`."""
    query = (
        select(webhook_deliveries)
        .where(_D.endpoint_id == endpoint_id, _D.status == "pending", _D.next_try_at <= now)
        .order_by(_D.next_try_at, _D.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(query).all()
    endpoint = endpoints.get(connection, endpoint_id)
    if not rows or endpoint is None:
        return []
    token = claim_token()
    connection.execute(
        update(webhook_deliveries)
        .where(_D.number.in_([row.number for row in rows]))
        .values(claim_token=token, next_try_at=now + lease)
    )
    return [
        ClaimedDelivery(
            row.id,
            endpoint_id,
            endpoint.url,
            endpoints.signing_secrets(endpoint, now),
            row.event_id,
            row.payload,
            row.tries,
            token,
            row.created_at,
        )
        for row in rows
    ]


def log_try(
    connection: Connection,
    delivery_id: str,
    at: datetime,
    *,
    status_code: int | None,
    error: str | None,
    duration_ms: int,
) -> None:
    """Add a line to the delivery log."""
    connection.execute(
        insert(webhook_tries),
        {
            "delivery_id": delivery_id,
            "at": at,
            "status_code": status_code,
            "error": error,
            "duration_ms": duration_ms,
        },
    )


def delivered(connection: Connection, claimed: ClaimedDelivery, now: datetime) -> bool:
    """The receiver has it. False: the claim was lost (it may be delivered once more)."""
    connection.execute(
        update(webhook_endpoints)
        .where(_E.id == claimed.endpoint_id, _E.failing_since.is_not(None))
        .values(failing_since=None)
    )
    return _end_try(connection, claimed, status="delivered", next_try_at=None, ended_at=now)


def retry_at(
    connection: Connection, claimed: ClaimedDelivery, moment: datetime, now: datetime
) -> bool:
    """It failed and is tried again then."""
    _mark_failing(connection, claimed.endpoint_id, now)
    return _end_try(connection, claimed, next_try_at=moment)


def give_up(connection: Connection, claimed: ClaimedDelivery, now: datetime) -> bool:
    """It failed for the last time."""
    _mark_failing(connection, claimed.endpoint_id, now)
    return _end_try(connection, claimed, status="failed", next_try_at=None, ended_at=now)


def _end_try(connection: Connection, claimed: ClaimedDelivery, **values: Any) -> bool:
    moved = connection.execute(
        update(webhook_deliveries)
        .where(
            _D.id == claimed.id,
            _D.status == "pending",
            _D.claim_token == claimed.claim_token,
        )
        .values(claim_token=None, tries=_D.tries + 1, **values)
    )
    return moved.rowcount > 0


def _mark_failing(connection: Connection, endpoint_id: str, now: datetime) -> None:
    connection.execute(
        update(webhook_endpoints)
        .where(_E.id == endpoint_id, _E.failing_since.is_(None))
        .values(failing_since=now)
    )


def get(
    connection: Connection, delivery_id: str, project_id: str | None = None
) -> DeliveryRow | None:
    """A delivery by its id; with a project, only that project's."""
    query = select(webhook_deliveries).where(_D.id == delivery_id)
    if project_id is not None:
        own = select(_E.id).where(_E.project_id == project_id)
        query = query.where(_D.endpoint_id.in_(own))
    return connection.execute(query).one_or_none()


def page(
    connection: Connection, endpoint_id: str, *, limit: int = 100, before: int | None = None
) -> Sequence[DeliveryRow]:
    """An endpoint's deliveries, newest first; `before` is the number of the last one shown."""
    query = (
        select(webhook_deliveries)
        .where(_D.endpoint_id == endpoint_id)
        .order_by(_D.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(_D.number < before)
    return connection.execute(query).all()


def tries_of(connection: Connection, delivery_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """The log of these deliveries, each in the order of its tries."""
    query = (
        select(webhook_tries)
        .where(webhook_tries.c.delivery_id.in_(delivery_ids))
        .order_by(webhook_tries.c.number)
    )
    found: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.delivery_id, []).append(row)
    return found


def redeliver(connection: Connection, delivery_id: str, now: datetime) -> None:
    """Send it again, now and by the whole schedule, whatever became of it; the log stays.

    Raises NotFoundError, or ConflictError where its endpoint is disabled.
    """
    row = get(connection, delivery_id)
    endpoint = endpoints.get(connection, row.endpoint_id) if row is not None else None
    if endpoint is None:
        raise NotFoundError("no such webhook delivery")
    if endpoint.status != "enabled":
        raise ConflictError("the delivery's endpoint is disabled", code="endpoint_disabled")
    connection.execute(
        update(webhook_deliveries)
        .where(_D.id == delivery_id)
        .values(status="pending", tries=0, next_try_at=now, claim_token=None, ended_at=None)
    )
