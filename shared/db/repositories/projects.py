"""Projects and their keys. A key is shown once, when it is made; only its SHA-256 is kept."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.tables import api_keys, projects
from shared.ids import new_id

DEFAULT_PROJECT = "default"
"""Always there: where the admin key acts when no project is named."""

ProjectRow = Row[Any]
KeyRow = Row[Any]


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key may do. `scopes` are of "submit", "read", "admin"."""

    project_id: str
    name: str
    scopes: Sequence[str]
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    spend_limit_nusd: int | None = None
    expires_at: datetime | None = None


def create(
    connection: Connection,
    project_id: str,
    now: datetime,
    *,
    limits: Mapping[str, int | None] | None = None,
    routing: Mapping[str, Any] | None = None,
) -> bool:
    """Make a project; False where one of that id is there already, which is left as it is.

    `limits` in nano-dollars by window ("day", "month", "total").
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {
        "id": project_id,
        "created_at": now,
        "routing": dict(routing or {}),
        **{f"{kind}_limit_nusd": limit for kind, limit in (limits or {}).items()},
    }
    statement = dialect.insert(projects).values(values).on_conflict_do_nothing()
    made = connection.execute(statement.returning(projects.c.id))
    return made.one_or_none() is not None


def get(connection: Connection, project_id: str) -> ProjectRow | None:
    """A project by its id."""
    return connection.execute(_BY_ID, {"project": project_id}).one_or_none()


_BY_ID: Final = select(projects).where(projects.c.id == bindparam("project"))


def set_cache(connection: Connection, project_id: str, ttl_s: int | None) -> None:
    """Keep a project's answers for so long from now on, in an empty cache; None: keep none."""
    name = None if ttl_s is None else secrets.token_hex(8)
    connection.execute(
        update(projects)
        .where(projects.c.id == project_id)
        .values(cache_ttl_s=ttl_s, cache_name=name)
    )


def set_routing(connection: Connection, project_id: str, routing: Mapping[str, Any]) -> None:
    """What routing takes from a project from now on."""
    connection.execute(
        update(projects).where(projects.c.id == project_id).values(routing=dict(routing))
    )


def page(connection: Connection, *, limit: int, after: str | None = None) -> Sequence[ProjectRow]:
    """Projects by id; `after` is the last one of the page before."""
    query = select(projects).order_by(projects.c.id).limit(limit)
    if after is not None:
        query = query.where(projects.c.id > after)
    return connection.execute(query).all()


def create_key(connection: Connection, new: NewKey, now: datetime) -> tuple[KeyRow, str]:
    """Make a key: its row, and the key itself, which cannot be read again."""
    key = "pm_" + secrets.token_urlsafe(32)
    values = {
        "id": new_id("key"),
        "project_id": new.project_id,
        "name": new.name,
        "key_hash": hash_of(key),
        "hint": key[-4:],
        "scopes": list(new.scopes),
        "requests_per_minute": new.requests_per_minute,
        "tokens_per_day": new.tokens_per_day,
        "spend_limit_nusd": new.spend_limit_nusd,
        "created_at": now,
        "expires_at": new.expires_at,
    }
    return connection.execute(insert(api_keys).returning(*api_keys.c), values).one(), key


def hash_of(key: str) -> str:
    """The form in which a key is kept and found."""
    return hashlib.sha256(key.encode()).hexdigest()


def find_key(connection: Connection, key_hash: str) -> KeyRow | None:
    """A key by the hash of its text, whether or not it is still good."""
    return connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).one_or_none()


def get_key(connection: Connection, key_id: str) -> KeyRow | None:
    """A key by its id, whether or not it is still good."""
    return connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()


def revoke_key(
    connection: Connection, key_id: str, project_id: str | None, now: datetime
) -> KeyRow | None:
    """Make a key useless (with a project, only that project's); its row, None where there is none.
    Revoking again keeps the first moment.
    """
    mine = [api_keys.c.id == key_id]
    if project_id is not None:
        mine.append(api_keys.c.project_id == project_id)
    connection.execute(
        update(api_keys).where(*mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    return connection.execute(select(api_keys).where(*mine)).one_or_none()


def keys_page(
    connection: Connection, project_id: str, *, limit: int, after: str | None = None
) -> Sequence[KeyRow]:
    """A project's keys, oldest first; `after` is the id of the last one of the page before."""
    query = select(api_keys).where(api_keys.c.project_id == project_id)
    if after is not None:
        query = query.where(api_keys.c.id > after)
    return connection.execute(query.order_by(api_keys.c.id).limit(limit)).all()
