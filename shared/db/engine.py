"""The engine for either database, and the one way to a transaction.

SQLite: WAL, and what a transaction wrote is on the disk when `transaction` ends, because an intent
that a power cut takes back would be a paid call nobody knows of; group commit pays the fsync once
for many rows. The WAL is flushed by us after the commit instead of by SQLite in it, so nobody waits
for the write lock while the disk works (decision 18). Writers take the write lock at BEGIN
(IMMEDIATE), so a transaction never fails half way because another one wrote meanwhile. Who waits
for that lock looks every few milliseconds, and those whom somebody waits for look more often:
SQLite itself would look ever more seldom, up to a tenth of a second apart. The same leave it to the
others to carry the WAL into the database, as long as these do.

On both, the connection that was used last is used next, since each prepares its statements for
itself and keeps them.

PostgreSQL: a connection is asked whether it lives only where it lay idle (`idle_connections`).
Workers find every row by its key, so theirs plan each statement once and never by reading a whole
table, which PostgreSQL else prefers whenever its statistics are old.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from shared.db.idle_connections import ask_after_idling
from shared.errors import UnavailableError

__all__ = ["Connection", "Database", "make_engine", "mapped_errors"]

_BUSY_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 30
_OFTEN_S, _SELDOM_S = 0.0005, 0.005
"""How often who waits for SQLite's write lock looks: for people, and for batches."""
_LATE_CHECKPOINT_PAGES, _CHECKPOINT_PAGES = 8_000, 1_000
"""From how long a WAL on who commits carries it into the database: for people, and for batches. A
page has 4 KiB; the latter is SQLite's own figure."""
_STATEMENT_TIMEOUT_S = 120
_IDLE_IN_TRANSACTION_S = 30
"""How long a process may do nothing inside a transaction, and others wait for what it has locked:
one that hangs (SIGSTOP, a frozen machine) is cut off by PostgreSQL then."""

_GIVEN_UP = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 14_000,
}
"""After 14 s a server is given up whose machine or network is gone without a word, and whoever
waited asks anew: Linux by itself waits two hours for an answer, and leases lapse meanwhile."""


class Database:
    """One process's door to the database; thread-safe, opens connections as they are needed."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        for_batches: bool = False,
        by_keys: bool = False,
    ) -> None:
        """for_batches: nobody waits for what is written, so on SQLite it lets others write first
        and does the upkeep. by_keys: every row is found by a key or an index; what reads whole
        tables would be slow.
        """
        self.engine = make_engine(url, pool_size=pool_size, by_keys=by_keys)
        self._look_every_s = _SELDOM_S if for_batches else _OFTEN_S
        if self.is_sqlite:
            pages = _CHECKPOINT_PAGES if for_batches else _LATE_CHECKPOINT_PAGES
            event.listen(self.engine, "connect", _checkpoints_from(pages))
        self._wal = f"{self.engine.url.database}-wal" if self.is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A read-write transaction: commits at the end, rolls back on any exception.

        Raises UnavailableError where the database does not answer or is locked for too long.
        """
        with mapped_errors(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.execution_options(pm_look_every_s=self._look_every_s)
            with connection.begin():
                yield connection
            if self._wal is not None:
                _flush(self._wal)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A view to read from: of one moment on SQLite, where it does not wait for writers; on
        PostgreSQL each statement sees its own, and none costs more than its own round trip.
        """
        with mapped_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            with connection.begin():
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As `reading`, and all statements see one moment on either database: for figures that are
        added up from several tables, and for rows that are fetched piece by piece.
        """
        with mapped_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def ping(self) -> None:
        """Raises UnavailableError when the database does not answer."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map a database that does not answer to UnavailableError; mistakes of ours stay themselves."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise UnavailableError(f"the database does not answer: {_reason(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError("the connection to the database was lost") from error
        raise
    except SQLAlchemyError as error:
        if type(error).__name__ == "TimeoutError":
            raise UnavailableError("no database connection became free in time") from error
        raise


def _reason(error: DBAPIError) -> str:
    # Only the driver's first line: statements and parameters may hold prompts.
    return str(error.orig).strip().splitlines()[0][:200] if error.orig else "no reason given"


def make_engine(url: str, *, pool_size: int = 8, by_keys: bool = False) -> Engine:
    """An engine with hidden parameters (they hold prompts) and the settings each database needs."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=32,
            pool_use_lifo=True,
            connect_args={"check_same_thread": False},
        )
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return engine
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=32,
        pool_use_lifo=True,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 5,
            **_GIVEN_UP,
            "application_name": "promptmill",
            "options": _postgres_options(by_keys=by_keys),
        },
    )
    ask_after_idling(engine)
    return engine


_BY_KEYS = {
    "plan_cache_mode": "force_generic_plan",
    "random_page_cost": "0.1",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


def _postgres_options(*, by_keys: bool) -> str:
    limits = {
        "statement_timeout": _STATEMENT_TIMEOUT_S,
        "lock_timeout": _LOCK_TIMEOUT_S,
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_S,
    }
    values = {"timezone": "UTC", **{name: str(s * 1000) for name, s in limits.items()}}
    values |= _BY_KEYS if by_keys else {}
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def _on_sqlite_connect(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    entry.info["pm_patience_s"] = _BUSY_TIMEOUT_S
    # Transactions are begun by us, in the kind we want: the driver must not begin its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # `_flush` puts commits on the disk
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA temp_store = MEMORY")
    # 2,000 KiB a connection. It is emptied at every commit of another one: 16,000 brought nothing,
    # and stayed taken.
    cursor.execute("PRAGMA cache_size = -2000")
    cursor.close()


def _checkpoints_from(pages: int) -> Callable[[sqlite3.Connection, ConnectionPoolEntry], None]:
    def on_connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").close()

    return on_connect


def _on_sqlite_begin(connection: Connection) -> None:
    look_every_s: float | None = connection.get_execution_options().get("pm_look_every_s")
    _set_patience(connection, _BUSY_TIMEOUT_S if look_every_s is None else 0)
    if look_every_s is None:
        connection.exec_driver_sql("BEGIN")
    else:
        _begin_to_write(connection, look_every_s)


def _begin_to_write(connection: Connection, look_every_s: float) -> None:
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_S
    driver: Any = connection.connection.dbapi_connection
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            is_locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_locked or time.monotonic() >= give_up_at:
                raise UnavailableError(f"the database does not answer: {error}") from error
            time.sleep(look_every_s)
        else:
            return


def _flush(wal: str) -> None:
    """Put all that was committed so far on the disk. The WAL is there while a connection is open,
    and SQLite takes no locks on it that closing the file would lose.
    """
    try:
        file = os.open(wal, os.O_RDWR)
        try:
            _sync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise UnavailableError(f"the database's disk does not answer: {error.strerror}") from error


_sync = getattr(os, "fdatasync", os.fsync)


def _set_patience(connection: Connection, seconds: int) -> None:
    """How long SQLite itself waits for a lock; what it is set to by now is kept beside it."""
    info = connection.connection.info
    if info["pm_patience_s"] != seconds:
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA busy_timeout = {seconds * 1000}")
        info["pm_patience_s"] = seconds
