"""The database's versions: every step from nothing to the present tables, for both databases.

Two processes that upgrade at once do not race: the first takes a lock (an advisory one on
PostgreSQL, the write lock of the file on SQLite), the second finds the work done. A step is one
transaction together with its mark, so a process that dies half way leaves the version before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from shared.db.engine import mapped_errors

_LOCK_NUMBER = 0x70726D_696C6C  # "prmill": the advisory lock's name
_BUSY_TIMEOUT_S = 60


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to a revision; what is already there is left alone.

    Raises UnavailableError when the database does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    with _locked(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to a revision; "base" drops every table with what is in it."""
    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def at_head(url: str) -> bool:
    """Whether the tables are those this program was written for; changes nothing."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        return False
    expected = set(ScriptDirectory.from_config(_config()).get_heads())
    with _connected(url) as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == expected


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    with _connected(url) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})"))
        yield connection
        connection.commit()


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection of its own, without the program's time limits: a step may take long."""
    sqlite = url.startswith("sqlite")
    arguments: dict[str, Any] = {"timeout": _BUSY_TIMEOUT_S} if sqlite else {"connect_timeout": 10}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    try:
        with mapped_errors(), engine.connect() as connection:
            if sqlite:
                # The driver would begin transactions by its own lights, and end them at each DDL.
                driver: Any = connection.connection.driver_connection
                driver.isolation_level = None
            yield connection
    finally:
        engine.dispose()
