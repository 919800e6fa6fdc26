"""Prompt templates by project, name and version. A version is never changed once it is there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from shared.db.tables import projects, templates

TemplateRow = Row[Any]

_T = templates.c


def add(
    connection: Connection, project_id: str, name: str, fields: Mapping[str, Any], now: datetime
) -> TemplateRow:
    """The next version of a name, or its newest one where that says the same."""
    # Two additions of one project at once would otherwise take the same number.
    connection.execute(select(projects.c.id).where(projects.c.id == project_id).with_for_update())
    mine = (_T.project_id == project_id, _T.name == name)
    newest = find(connection, project_id, name)
    if newest is not None and newest.fields == dict(fields):
        return newest
    last = connection.execute(select(func.max(_T.version)).where(*mine)).scalar_one()
    values = {
        "project_id": project_id,
        "name": name,
        "version": (last or 0) + 1,
        "fields": dict(fields),
        "created_at": now,
    }
    return connection.execute(insert(templates).returning(*_T), values).one()


def find(
    connection: Connection, project_id: str, name: str, version: int | None = None
) -> TemplateRow | None:
    """A version that was not deleted; None for the version: the newest."""
    query = select(templates).where(
        _T.project_id == project_id, _T.name == name, _T.deleted_at.is_(None)
    )
    if version is not None:
        query = query.where(_T.version == version)
    return connection.execute(query.order_by(_T.version.desc()).limit(1)).one_or_none()


def versions(connection: Connection, project_id: str, name: str) -> Sequence[TemplateRow]:
    """All versions of a name, the newest first; nothing where it is not there or was deleted."""
    query = select(templates).where(
        _T.project_id == project_id, _T.name == name, _T.deleted_at.is_(None)
    )
    return connection.execute(query.order_by(_T.version.desc())).all()


def page(
    connection: Connection, project_id: str, *, limit: int, after: str | None = None
) -> Sequence[TemplateRow]:
    """The newest version of each name, by name; `after` is the last name of the page before."""
    mine = (_T.project_id == project_id, _T.deleted_at.is_(None))
    newest = select(_T.name, func.max(_T.version).label("version")).where(*mine).group_by(_T.name)
    if after is not None:
        newest = newest.where(_T.name > after)
    chosen = newest.order_by(_T.name).limit(limit).subquery()
    query = (
        select(templates)
        .join(chosen, (chosen.c.name == _T.name) & (chosen.c.version == _T.version))
        .where(*mine)
        .order_by(_T.name)
    )
    return connection.execute(query).all()


def delete(connection: Connection, project_id: str, name: str, now: datetime) -> bool:
    """Take a name's versions out of use; False where there is none. Their numbers stay used."""
    changed = connection.execute(
        update(templates)
        .where(_T.project_id == project_id, _T.name == name, _T.deleted_at.is_(None))
        .values(deleted_at=now)
    )
    return bool(changed.rowcount)
