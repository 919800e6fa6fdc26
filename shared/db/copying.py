"""Thousands of rows of numbers and texts at once: COPY on PostgreSQL, VALUES on SQLite.

As one JSON parameter (see `bulk`) a request, which is JSON itself, would have each of its quotes
escaped here and taken apart there; COPY also writes whole pages. Measured in docs/performance.md
(Intake).
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, Table
from sqlalchemy.exc import DBAPIError

from shared.db.bulk import insert_values

Value = int | str | None

_NULL: Final = "\\N"
_WRITTEN: Final = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
"""What COPY's text form takes for its own, and how it is meant literally; the backslash first."""


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Value, ...]]
) -> None:
    """Insert rows, each the values of these columns in their order: whole numbers, and texts
    without a NUL character.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        insert_values(connection, table, tuple(columns), rows)
        return
    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    written = [_written(table, name, values) for name, values in by_column]
    text = "\n".join(map("\t".join, zip(*written, strict=True)))
    _copy(connection, f"COPY {table.name} ({', '.join(columns)}) FROM STDIN", text.encode())


def _written(table: Table, name: str, values: Sequence[Any]) -> list[str]:
    """A column's values in COPY's text form; by columns, since a loop of C is ten times as fast."""
    if isinstance(table.c[name].type, BigInteger | Integer):
        return [_NULL if value is None else str(value) for value in values]
    whole = "".join([value for value in values if value is not None])
    for plain, written in _WRITTEN:
        if plain in whole:
            values = [value and value.replace(plain, written) for value in values]
    return [_NULL if value is None else value for value in values]


def _copy(connection: Connection, statement: str, rows: bytes) -> None:
    driver: Any = connection.connection.dbapi_connection
    # Not by its name: 8 MB that a process on SQLite need not load.
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(rows)
    except driver_error as error:
        # As SQLAlchemy raises what the driver raises, so that all errors are mapped in one place.
        if driver.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            driver_error,
            hide_parameters=True,
            connection_invalidated=bool(driver.closed),
            dialect=connection.dialect,
        ) from error
