"""Rows in the form in which a database takes them; made ahead, a transaction need not make them
while others wait for its locks.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Table

from shared.db.base import Json, UtcDateTime

Row = Mapping[str, Any]


class StoredRow(dict[str, Any]):
    """A row that `stored` has made."""


def stored(rows: Sequence[Row], table: Table, *, is_sqlite: bool) -> Sequence[Row]:
    """The rows with their times and JSON as the driver takes them; those that are so already stay.

    Either all rows are made ahead or none. Raises ValueError for a time without a zone.
    """
    if not rows or isinstance(rows[0], StoredRow):
        return rows
    converters = _converters(table, tuple(rows[0]), is_sqlite=is_sqlite)
    return [_converted(row, converters) for row in rows]


def _converted(row: Row, converters: Sequence[tuple[str, Callable[[Any], Any]]]) -> StoredRow:
    made = StoredRow(row)
    for name, convert in converters:
        if made[name] is not None:
            made[name] = convert(made[name])
    return made


@cache
def _converters(
    table: Table, columns: tuple[str, ...], *, is_sqlite: bool
) -> Sequence[tuple[str, Callable[[Any], Any]]]:
    """The columns whose values are not sent as they are."""
    found: list[tuple[str, Callable[[Any], Any]]] = []
    for name in columns:
        kind = table.c[name].type
        if isinstance(kind, UtcDateTime):
            found.append((name, _sqlite_moment if is_sqlite else _moment))
        elif isinstance(kind, Json):
            found.append((name, _json))
    return found


def _moment(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("naive datetime: times are aware and UTC")
    return value


def _sqlite_moment(value: datetime) -> str:
    # As SQLAlchemy's DateTime writes it, or text would not compare.
    return _moment(value).astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
