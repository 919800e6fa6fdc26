"""Many rows in one statement, and statements made once: what a group commit and intake write by.

PostgreSQL gets all rows as one JSON parameter, which the server takes apart. SQLite gets them as
`VALUES`, many at a time: its driver's `executemany` lets the interpreter go at each row, and in a
busy process waits for it each time, while it holds the database's one write lock. SQLAlchemy's own
executemany handles parameters one by one (all measured in docs/performance.md). The rows of a call
name the same columns; values are those of SQLAlchemy's columns, so times are aware and JSON columns
take any value.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, wraps
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import ARRAY

from shared.db.stored_form import Row, stored

StatementT = TypeVar("StatementT")

_MOST_VALUES: Final = 4_000
"""Of one statement on SQLite, which allows 32,766: more would only make its plan larger."""

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
    if _is_sqlite(connection):
        _execute_values(
            connection,
            table,
            columns,
            rows,
            lambda many: _insert_values(table, columns, known, many),
        )
    else:
        names = ", ".join(columns)
        source = f"SELECT {names} FROM {_recordset(table, columns)}"
        statement = f"INSERT INTO {table.name} ({names}) {source}{_clash(known)}"
        _execute_json(connection, statement, table, rows)


def insert_values(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert rows on SQLite that are given as the driver takes them, in the order of columns."""
    _execute_many(connection, rows, lambda many: _insert_values(table, columns, None, many))


def update_rows(
    connection: Connection, table: Table, rows: Sequence[Row], *, key: str, status: str
) -> set[Any]:
    """Update rows by a unique column, those of them that have this status; returns the keys of
    these. They are locked in rising order, so that two who do this never wait in a circle.
    """
    if not rows:
        return set()
    columns = (key, *(name for name in rows[0] if name != key))
    if not _is_sqlite(connection):
        statement = _update_recordset(table, columns, status)
        found = _execute_json(connection, statement, table, rows, {"limit": len(rows)})
        return set(found.scalars())
    wanted = {row[key]: row for row in rows}
    asked = {"ids": listed(connection, wanted)}
    known = {row_key for (row_key,) in gathered(connection, _with(table, key, status), asked)}
    if known:
        _execute_values(
            connection,
            table,
            columns,
            [row for row_key, row in wanted.items() if row_key in known],
            lambda many: _update_values(table, columns, status, many),
        )
    return known


def add_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add sums to the rows with these primary keys, or insert them; in the order given."""
    if not rows:
        return
    columns = tuple(rows[0])
    if _is_sqlite(connection):
        _execute_values(connection, table, columns, rows, lambda many: _sums(table, columns, many))
    else:
        names = ", ".join(columns)
        source = f"SELECT {names} FROM {_recordset(table, columns)}"
        statement = f"INSERT INTO {table.name} ({names}) {source} {_adding(table)}"
        _execute_json(connection, statement, table, rows)


def together(connection: Connection, query: Select[Any]) -> Select[Any]:
    """A query for numbers and texts as `gathered` asks it. SQLite's driver lets the interpreter go
    at each row, so there they come as one.
    """
    if not _is_sqlite(connection):
        return query
    return select(func.json_group_array(func.json_array(*query.subquery().c)))


def gathered(
    connection: Connection, query: Select[Any], parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """All rows of a query that `together` made; in its order on PostgreSQL only."""
    found = connection.execute(query, parameters)
    if _is_sqlite(connection):
        return [tuple(row) for row in orjson.loads(found.scalar_one())]
    return [tuple(row) for row in found]


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


def _execute_json(
    connection: Connection,
    statement: str,
    table: Table,
    rows: Sequence[Row],
    more: Mapping[str, int] = {},
) -> CursorResult[Any]:
    text = orjson.dumps(stored(rows, table, is_sqlite=False), default=dict).decode()
    return connection.exec_driver_sql(statement, {"rows": text, **more})


def _execute_values(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    statement_of: Callable[[int], str],
) -> None:
    """In few statements, each of a power of two of rows, so that their texts are few as well."""
    made = stored(rows, table, is_sqlite=True)
    _execute_many(connection, list(map(_in_order(columns), made)), statement_of)


def _execute_many(
    connection: Connection,
    rows: Sequence[tuple[Any, ...]],
    statement_of: Callable[[int], str],
) -> None:
    most = 1 << (_MOST_VALUES // len(rows[0])).bit_length() - 1
    done = 0
    while done < len(rows):
        many = min(most, 1 << (len(rows) - done).bit_length() - 1)
        values = tuple(chain.from_iterable(rows[done : done + many]))
        connection.exec_driver_sql(statement_of(many), values)
        done += many


@cache
def _insert_values(table: Table, columns: tuple[str, ...], known: str | None, many: int) -> str:
    names = ", ".join(columns)
    return f"INSERT INTO {table.name} ({names}) {_values(columns, many)}{_clash(known)}"


@cache
def _update_recordset(table: Table, columns: tuple[str, ...], status: str) -> str:
    key = columns[0]
    sets = ", ".join(f"{name} = f.{name}" for name in columns[1:])
    news = ", ".join(f"r.{name}" for name in columns)
    # By the limit PostgreSQL sees that they are few beside the table, however new that is:
    # otherwise it may read the whole index and look each row up among these.
    few = f"(SELECT * FROM {_recordset(table, columns)} LIMIT %(limit)s) AS r"
    return (
        f"WITH f AS (SELECT {news} FROM {few} JOIN {table.name} AS t ON t.{key} = r.{key} "
        f"WHERE t.status = '{status}' ORDER BY t.{key} FOR UPDATE OF t) "
        f"UPDATE {table.name} AS t SET {sets} FROM f WHERE t.{key} = f.{key} RETURNING t.{key}"
    )


@cache
def _with(table: Table, key: str, status: str) -> Select[Any]:
    """Which of `ids` have this status, on SQLite."""
    values = func.json_each(bindparam("ids", type_=String)).table_valued("value")
    wanted = table.c[key].in_(select(values.c.value))
    found = select(table.c[key]).where(wanted, table.c.status == status)
    return select(func.json_group_array(func.json_array(*found.subquery().c)))


@cache
def _update_values(table: Table, columns: tuple[str, ...], status: str, many: int) -> str:
    key, *others = columns
    # SQLite names the columns of VALUES column1, column2 and so on.
    sets = ", ".join(f"{name} = r.column{place}" for place, name in enumerate(others, 2))
    return (
        f"UPDATE {table.name} AS t SET {sets} FROM ({_values(columns, many)}) AS r "
        f"WHERE t.{key} = r.column1 AND t.status = '{status}'"
    )


@cache
def _sums(table: Table, columns: tuple[str, ...], many: int) -> str:
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) {_values(columns, many)}{_adding(table)}"
    )


@cache
def _adding(table: Table) -> str:
    sums = (
        f"{column.name} = {table.name}.{column.name} + excluded.{column.name}"
        for column in table.columns
        if not column.primary_key
    )
    key = ", ".join(column.name for column in table.primary_key)
    return f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(sums)}"


def _values(columns: tuple[str, ...], many: int) -> str:
    marks = ", ".join("?" * len(columns))
    return "VALUES " + ", ".join([f"({marks})"] * many)


def _clash(known: str | None) -> str:
    return "" if known is None else f" ON CONFLICT ({known}) DO NOTHING"


def _in_order(columns: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    if len(columns) == 1:
        return lambda row: (row[columns[0]],)
    return itemgetter(*columns)


@cache
def _recordset(table: Table, columns: tuple[str, ...]) -> str:
    kinds = (f"{name} {table.c[name].type.compile(dialect=_POSTGRES)}" for name in columns)
    return f"json_to_recordset(%(rows)s::json) AS r({', '.join(kinds)})"
