"""Column types, indexes and naming that behave alike on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ROW_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""Of rows that are numbered as they come. SQLite gives rowids only to INTEGER PRIMARY KEY;
PostgreSQL wants 64 bits."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, ISO text in UTC on SQLite.

    A naive datetime is refused with ValueError: it would be read as some local time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to UTC; SQLite stores it without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: times are aware and UTC")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware and UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A small JSON value, stored as text so that both databases keep it byte for byte."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To JSON text."""
        del dialect
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From JSON text."""
        del dialect
        return None if value is None else orjson.loads(value)


def one_of(column: str, words: type[Any], name: str) -> CheckConstraint:
    """A CHECK that mirrors an enumeration."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def counter(name: str, kind: type[BigInteger] | type[Integer] = BigInteger) -> Column[int]:
    """A column of sums and counts, which begin with 0."""
    return Column(name, kind, nullable=False, server_default="0")


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of those rows alone that meet a condition.

    SQLite uses it only for a query that says the condition word for word: `where(text(...))`.
    """
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
