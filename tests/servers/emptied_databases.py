"""Databases that are emptied after a test and given to the next one: making and dropping one takes
PostgreSQL a tenth of a second, emptying one a tenth of that.

Only a database that is shaped as it was made is used again. One whose tables, indexes, settings or
statistics were touched, that has grown, or whose clients do not let go of it, is dropped.
"""

from typing import LiteralString

import psycopg

from tests.servers.postgres import PostgresServer

_GROWN_BYTES = 2 * 1024 * 1024
"""Rows that are deleted keep their place: a larger table would be read and planned otherwise."""

_SHAPE: LiteralString = """
    SELECT (SELECT sum(xmin::text::bigint) FROM pg_class WHERE oid >= 16384),
           (SELECT sum(reltuples) FROM pg_class WHERE oid >= 16384),
           (SELECT sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384),
           (SELECT sum(xmin::text::bigint) FROM pg_attrdef),
           (SELECT sum(xmin::text::bigint) FROM pg_constraint WHERE conrelid >= 16384),
           (SELECT sum(xmin::text::bigint) FROM pg_index WHERE indrelid >= 16384),
           (SELECT sum(xmin::text::bigint) FROM pg_trigger),
           (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
           (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
           (SELECT count(*) FROM pg_db_role_setting),
           (SELECT string_agg(version_num, ',') FROM alembic_version)
"""
_SIZE: LiteralString = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_PARTING: LiteralString = """
    SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES: LiteralString = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
_RESTARTING: LiteralString = """
    SELECT setval(format('%I', sequencename), start_value, false)
    FROM pg_sequences WHERE schemaname = 'public'
"""


class EmptiedDatabases:
    """Copies of one template on one server."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        self._empty: list[str] = []
        self._shape: object = None
        self._size = 0

    def take(self) -> str:
        """An empty database's name."""
        return self._empty.pop() if self._empty else self._make()

    def give_back(self, name: str) -> None:
        """Nobody needs what is in it any more."""
        if self._is_emptied(name):
            self._empty.append(name)
        else:
            self._server.drop_database(name)

    def _make(self) -> str:
        name = self._server.create_database(self._template)
        if self._shape is None:
            with self._server.connect(name) as connection:
                self._shape = connection.execute(_SHAPE).fetchone()
                self._size = _number(connection, _SIZE)
        return name

    def _is_emptied(self, name: str) -> bool:
        with self._server.connect(name) as connection:
            parted = connection.execute(_PARTING).fetchone()
            if parted == (False,) or connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            if _number(connection, _SIZE) > self._size + _GROWN_BYTES:
                return False
            _empty(connection)
        return True


def _empty(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    tables = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
    # As a replica, or each foreign key would be looked up.
    deleting = "; ".join(f"DELETE FROM {name}" for name in tables)
    connection.execute(f"SET session_replication_role = replica; {deleting}".encode())
    connection.execute(_RESTARTING)


def _number(connection: "psycopg.Connection[tuple[object, ...]]", query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))
