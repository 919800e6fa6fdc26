"""Webhook endpoints, the deliveries owed to them, and the log of every try.

A delivery is claimed by a token and a time: a dispatcher that dies loses nothing, its deliveries
are due again when that time is over. What it still wants to write then finds another token.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from shared.db.tables import webhook_deliveries, webhook_endpoints, webhook_tries
from shared.errors import ConflictError, NotFoundError
from shared.ids import claim_token, new_id
from shared.webhooks.events import checked_types

EndpointRow = Row[Any]
DeliveryRow = Row[Any]

ROTATION_OVERLAP = timedelta(days=1)
_E = webhook_endpoints.c
_D = webhook_deliveries.c


def new_secret() -> str:
    """A signing secret: 32 random bytes, as the Standard Webhooks specification writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


# -- endpoints -------------------------------------------------------------------------------------


def create_endpoint(
    connection: Connection,
    project_id: str,
    url: str,
    name: str,
    event_types: Sequence[str] | None,
    now: datetime,
) -> tuple[EndpointRow, str]:
    """An enabled endpoint and its secret; the URL has been checked by the caller.

    Raises ConflictError where the project has this URL, UsageError for unknown event types.
    """
    secret = new_secret()
    row = {
        "id": new_id("wh"),
        "project_id": project_id,
        "name": name,
        "url": url,
        "event_types": checked_types(event_types),
        "status": "enabled",
        "secret": secret,
        "created_at": now,
        "updated_at": now,
    }
    try:
        with connection.begin_nested():
            created = connection.execute(
                insert(webhook_endpoints).returning(webhook_endpoints), row
            ).one()
    except IntegrityError as error:
        raise _url_taken() from error
    return created, secret


def _url_taken() -> ConflictError:
    return ConflictError(
        "this project has an endpoint with this URL", code="endpoint_exists", param="url"
    )


def is_untouched_since(endpoint: EndpointRow, moment: datetime) -> bool:
    """Whether an endpoint was made after a moment and is as it was made."""
    made: datetime = endpoint.created_at
    return made >= moment and bool(endpoint.updated_at == made)


def find_by_url(connection: Connection, project_id: str, url: str) -> EndpointRow | None:
    """The project's endpoint with this URL, enabled or not."""
    query = select(webhook_endpoints).where(_E.project_id == project_id, _E.url == url)
    return connection.execute(query).one_or_none()


def get_endpoint(
    connection: Connection, endpoint_id: str, project_id: str | None = None
) -> EndpointRow | None:
    """An endpoint by its id; with a project, only that project's."""
    query = select(webhook_endpoints).where(_E.id == endpoint_id)
    if project_id is not None:
        query = query.where(_E.project_id == project_id)
    return connection.execute(query).one_or_none()


def list_endpoints(
    connection: Connection,
    project_id: str | None = None,
    *,
    limit: int = 100,
    after: str | None = None,
) -> Sequence[EndpointRow]:
    """Endpoints, oldest first (ids rise with time); `after` is the last id of the page before."""
    query = select(webhook_endpoints).order_by(_E.id).limit(limit)
    if project_id is not None:
        query = query.where(_E.project_id == project_id)
    if after is not None:
        query = query.where(_E.id > after)
    return connection.execute(query).all()


def update_endpoint(
    connection: Connection,
    endpoint_id: str,
    now: datetime,
    *,
    name: str | None = None,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
) -> None:
    """Change what is given. Raises ConflictError where another one has the URL."""
    values: dict[str, Any] = {"name": name, "url": url}
    if event_types is not None:
        values["event_types"] = checked_types(event_types)
    values = {key: value for key, value in values.items() if value is not None}
    try:
        with connection.begin_nested():
            connection.execute(
                update(webhook_endpoints)
                .where(_E.id == endpoint_id)
                .values(**values, updated_at=now)
            )
    except IntegrityError as error:
        raise _url_taken() from error


def rotate(
    connection: Connection, endpoint_id: str, now: datetime, *, keep_old: bool = True
) -> str:
    """Give it a new secret, which is returned. The old one signs too for a day, unless it leaked
    (`keep_old=False`). Raises NotFoundError.
    """
    old = connection.execute(select(_E.secret).where(_E.id == endpoint_id)).scalar_one_or_none()
    if old is None:
        raise NotFoundError("no such webhook endpoint")
    secret = new_secret()
    connection.execute(
        update(webhook_endpoints)
        .where(_E.id == endpoint_id)
        .values(
            secret=secret,
            previous_secret=old if keep_old else None,
            previous_secret_until=now + ROTATION_OVERLAP if keep_old else None,
            updated_at=now,
        )
    )
    return secret


def enable(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Let it have events again; what it missed comes only by `redeliver`."""
    connection.execute(
        update(webhook_endpoints)
        .where(_E.id == endpoint_id)
        .values(status="enabled", failing_since=None, updated_at=now)
    )


def disable(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Send it nothing more: what it is still owed counts as failed."""
    connection.execute(
        update(webhook_endpoints)
        .where(_E.id == endpoint_id)
        .values(status="disabled", updated_at=now)
    )
    connection.execute(
        update(webhook_deliveries)
        .where(_D.endpoint_id == endpoint_id, _D.status == "pending")
        .values(status="failed", next_try_at=None, claim_token=None, ended_at=now)
    )


def delete_endpoint(connection: Connection, endpoint_id: str) -> bool:
    """Remove it with its deliveries and their log; False where there is none."""
    own = select(_D.id).where(_D.endpoint_id == endpoint_id)
    connection.execute(delete(webhook_tries).where(webhook_tries.c.delivery_id.in_(own)))
    connection.execute(delete(webhook_deliveries).where(_D.endpoint_id == endpoint_id))
    gone = connection.execute(delete(webhook_endpoints).where(_E.id == endpoint_id))
    return gone.rowcount > 0


def wanting(connection: Connection, project_ids: Sequence[str]) -> Sequence[Any]:
    """The enabled endpoints of these projects: id, project_id and event_types."""
    return connection.execute(_WANTING, {"projects": list(project_ids)}).all()


_WANTING: Final = select(_E.id, _E.project_id, _E.event_types).where(
    _E.project_id.in_(bindparam("projects", expanding=True)), _E.status == "enabled"
)


# -- deliveries ------------------------------------------------------------------------------------


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


def create_deliveries(connection: Connection, new: Sequence[NewDelivery], now: datetime) -> int:
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
    endpoint = get_endpoint(connection, endpoint_id)
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
            signing_secrets(endpoint, now),
            row.event_id,
            row.payload,
            row.tries,
            token,
            row.created_at,
        )
        for row in rows
    ]


def signing_secrets(endpoint: EndpointRow, now: datetime) -> tuple[str, ...]:
    """The secrets to sign with at this moment, the newest first."""
    overlaps = endpoint.previous_secret is not None and endpoint.previous_secret_until > now
    return (endpoint.secret, endpoint.previous_secret) if overlaps else (endpoint.secret,)


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


def failing_since(connection: Connection, endpoint_id: str) -> datetime | None:
    """Since when every try at this endpoint has failed."""
    moment: datetime | None = connection.execute(
        select(_E.failing_since).where(_E.id == endpoint_id)
    ).scalar_one_or_none()
    return moment


def get_delivery(
    connection: Connection, delivery_id: str, project_id: str | None = None
) -> DeliveryRow | None:
    """A delivery by its id; with a project, only that project's."""
    query = select(webhook_deliveries).where(_D.id == delivery_id)
    if project_id is not None:
        own = select(_E.id).where(_E.project_id == project_id)
        query = query.where(_D.endpoint_id.in_(own))
    return connection.execute(query).one_or_none()


def deliveries(
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
    row = get_delivery(connection, delivery_id)
    endpoint = get_endpoint(connection, row.endpoint_id) if row is not None else None
    if endpoint is None:
        raise NotFoundError("no such webhook delivery")
    if endpoint.status != "enabled":
        raise ConflictError("the delivery's endpoint is disabled", code="endpoint_disabled")
    connection.execute(
        update(webhook_deliveries)
        .where(_D.id == delivery_id)
        .values(status="pending", tries=0, next_try_at=now, claim_token=None, ended_at=None)
    )
