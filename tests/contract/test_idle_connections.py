"""Connections that lay in the pool: when PostgreSQL is asked whether they live, and when not."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Connection, text

from shared.db import idle_connections
from shared.db.engine import Database

LATER = 3600.0
ASKED = "SELECT pg_backend_pid()"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture
def observer(postgres_url: str) -> Iterator[Connection]:
    database = Database(postgres_url)
    with database.engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")
    database.close()


@pytest.mark.parametrize(("trusted_s", "last_said"), [(LATER, ASKED), (-1.0, ";")])
def test_a_connection_is_asked_whether_it_lives_only_where_it_lay_idle(
    database: Database,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    trusted_s: float,
    last_said: str,
) -> None:
    monkeypatch.setattr(idle_connections, "_TRUSTED_S", trusted_s)
    pid = _pid(database)
    with database.engine.connect():  # taken, and nothing is asked of it yet
        said = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
        assert observer.execute(said, {"pid": pid}).scalar_one() == last_said
    assert _pid(database) == pid


@pytest.mark.parametrize("trusted_s", [LATER, -1.0])
def test_who_takes_a_connection_that_the_server_has_closed_gets_a_living_one(
    database: Database, observer: Connection, monkeypatch: pytest.MonkeyPatch, trusted_s: float
) -> None:
    monkeypatch.setattr(idle_connections, "_TRUSTED_S", trusted_s)
    with ExitStack() as together:
        pids = {
            together.enter_context(database.reading()).scalar(text("SELECT pg_backend_pid()"))
            for _ in range(3)
        }
    for pid in pids:
        ended = text("SELECT pg_terminate_backend(:pid, 10000)")
        assert observer.execute(ended, {"pid": pid}).scalar_one(), "it has gone"
    with ExitStack() as together:
        for _ in pids:
            connection = together.enter_context(database.reading())
            assert connection.scalar(text("SELECT pg_backend_pid()")) not in pids


def _pid(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(text(ASKED)).scalar_one())
