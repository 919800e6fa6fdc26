"""Many rows in one statement, and statements made once: what a group commit and intake write by.

PostgreSQL gets all rows as one JSON parameter, which the server takes apart; SQLite's driver has a
fast `executemany`. SQLAlchemy's own executemany handles parameters one by one (measured in
docs/performance.md). The rows of a call name the same columns; values are those of
SQLAlchemy's columns, so times are aware and JSON columns take any value.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from operator import itemgetter
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import BigInteger, ColumnElement, Connection, String, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import ARRAY

from shared.db.base import Json, UtcDateTime

Row = Mapping[str, Any]
StatementT = TypeVar("StatementT")

_POSTGRES: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def made_once(make: Callable[[Connection], StatementT]) -> Callable[[Connection], StatementT]:
    """A statement that is put together once for each dialect: what changes are its parameters.

    Putting one together costs as much as running it on a hundred rows.
    """
    made: dict[str, StatementT] = {}

    @wraps(make)
    def of(connection: Connection) -> StatementT:
        dialect = connection.dialect.name
        if dialect not in made:
            made[dialect] = make(connection)
        return made[dialect]

    return of


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[Row], *, known: str | None = None
) -> None:
    """Insert rows; with `known`, a unique column, leave those alone that are there already."""
    if not rows:
        return
    columns = tuple(rows[0])
    names = ", ".join(columns)
    clash = "" if known is None else f" ON CONFLICT ({known}) DO NOTHING"
    if _is_sqlite(connection):
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}){clash}"
    else:
        source = f"SELECT {names} FROM {_recordset(table, columns)}"
        statement = f"INSERT INTO {table.name} ({names}) {source}{clash}"
    _execute(connection, statement, table, columns, rows)


def update_rows(
    connection: Connection, table: Table, rows: Sequence[Row], *, key: str, status: str
) -> None:
    """Update rows by a unique column, those of them that have this status."""
    if not rows:
        return
    columns = tuple(rows[0])
    values = [name for name in columns if name != key]
    if _is_sqlite(connection):
        columns = (*values, key)
        sets = ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE {table.name} SET {sets} WHERE {key} = ? AND status = '{status}'"
    else:
        sets = ", ".join(f"{name} = r.{name}" for name in values)
        statement = (
            f"UPDATE {table.name} AS t SET {sets} FROM {_recordset(table, columns)} "
            f"WHERE t.{key} = r.{key} AND t.status = '{status}'"
        )
    _execute(connection, statement, table, columns, rows)


def among(connection: Connection, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether the column's value is one of many that come as one parameter (see `listed`), so that
    the statement's text is the same for any number of them.
    """
    if _is_sqlite(connection):
        values = func.json_each(bindparam(name, type_=String)).table_valued("value")
        return column.in_(select(values.c.value))
    words = func.string_to_array(bindparam(name, type_=String), ",")
    kind = BigInteger() if isinstance(column.type, BigInteger) else String()
    return column == func.any(words.cast(ARRAY(kind)))


def listed(connection: Connection, values: Collection[int] | Collection[str]) -> str:
    """Ids as the one parameter that `among` takes."""
    if _is_sqlite(connection):
        return orjson.dumps(list(values)).decode()
    return ",".join(map(str, values))


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _execute(
    connection: Connection,
    statement: str,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
) -> None:
    is_sqlite = _is_sqlite(connection)
    converters = _converters(table, tuple(columns), is_sqlite)
    made = rows if not converters else [_converted(row, converters) for row in rows]
    if is_sqlite:
        connection.exec_driver_sql(statement, list(map(_in_order(columns), made)))
    else:
        text = orjson.dumps(made, default=dict).decode()
        connection.exec_driver_sql(statement, {"rows": text})


def _in_order(columns: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    if len(columns) == 1:
        return lambda row: (row[columns[0]],)
    return itemgetter(*columns)


def _converted(row: Row, converters: Sequence[tuple[str, Callable[[Any], Any]]]) -> Row:
    made = dict(row)
    for name, convert in converters:
        if made[name] is not None:
            made[name] = convert(made[name])
    return made


@cache
def _recordset(table: Table, columns: tuple[str, ...]) -> str:
    kinds = (f"{name} {table.c[name].type.compile(dialect=_POSTGRES)}" for name in columns)
    return f"json_to_recordset(%(rows)s::json) AS r({', '.join(kinds)})"


@cache
def _converters(
    table: Table, columns: tuple[str, ...], is_sqlite: bool
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
