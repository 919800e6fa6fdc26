"""Webhook endpoints: where a project wants its events sent, and what signs them."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.db.tables import webhook_deliveries, webhook_endpoints, webhook_tries
from shared.errors import ConflictError, NotFoundError
from shared.ids import new_id
from shared.webhooks.events import checked_types

EndpointRow = Row[Any]

ROTATION_OVERLAP = timedelta(days=1)
_E = webhook_endpoints.c
_D = webhook_deliveries.c


def new_secret() -> str:
    """A signing secret: 32 random bytes, as the Standard Webhooks specification writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def create(
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


def get(
    connection: Connection, endpoint_id: str, project_id: str | None = None
) -> EndpointRow | None:
    """An endpoint by its id; with a project, only that project's."""
    query = select(webhook_endpoints).where(_E.id == endpoint_id)
    if project_id is not None:
        query = query.where(_E.project_id == project_id)
    return connection.execute(query).one_or_none()


def page(
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


def change(
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


def signing_secrets(endpoint: EndpointRow, now: datetime) -> tuple[str, ...]:
    """The secrets to sign with at this moment, the newest first."""
    overlaps = endpoint.previous_secret is not None and endpoint.previous_secret_until > now
    return (endpoint.secret, endpoint.previous_secret) if overlaps else (endpoint.secret,)


def enable(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Let it have events again; what it missed comes only by `webhook_deliveries.redeliver`."""
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


def remove(connection: Connection, endpoint_id: str) -> bool:
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


def failing_since(connection: Connection, endpoint_id: str) -> datetime | None:
    """Since when every try at this endpoint has failed."""
    moment: datetime | None = connection.execute(
        select(_E.failing_since).where(_E.id == endpoint_id)
    ).scalar_one_or_none()
    return moment
