"""What a process that hangs inside a transaction has locked, PostgreSQL takes from it; who waits
for SQLite's write lock has it when it is free, and is told when it never is. Nobody waits for it
while the disk works, and no transaction ends before its writes are on the disk.
"""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

import migrations
from shared.clock import utc_now
from shared.db import engine
from shared.db.engine import Database
from shared.db.repositories import projects
from shared.db.tables import projects as projects_table
from shared.errors import UnavailableError

_RENAME = update(projects_table).where(projects_table.c.id == "acme")


def test_a_hanging_transaction_is_ended_and_its_locks_are_free(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "_IDLE_IN_TRANSACTION_S", 1)
    hanging, other = Database(postgres_url), Database(postgres_url)
    with other.transaction() as connection:
        projects.create(connection, "acme", utc_now())

    def hang() -> None:
        with hanging.transaction() as stuck:
            stuck.execute(_RENAME.values(month_limit_nusd=1))
            with other.transaction() as connection:
                connection.execute(_RENAME.values(month_limit_nusd=2))  # waits until it is cut off
            stuck.execute(text("SELECT 1"))

    with pytest.raises(UnavailableError):
        hang()
    with hanging.transaction() as connection:  # the process goes on, on another connection
        limit = connection.execute(select(projects_table.c.month_limit_nusd)).scalar_one()
    assert limit == 2
    hanging.close()
    other.close()


def test_no_process_may_hang_in_a_transaction_for_longer_than_others_wait_for_its_locks(
    postgres_url: str,
):
    database = Database(postgres_url)
    with database.reading() as connection:
        idle = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
        lock = connection.execute(text("SHOW lock_timeout")).scalar_one()
    database.close()
    assert idle == lock == "30s"


@pytest.fixture
def two_on_sqlite(tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    migrations.upgrade(url)
    both = Database(url), Database(url, for_batches=True)
    yield both
    for each in both:
        each.close()


def _make(database: Database, project: str) -> None:
    with database.transaction() as connection:
        projects.create(connection, project, utc_now())


def test_who_waits_for_the_write_lock_of_sqlite_writes_when_it_is_free(
    two_on_sqlite: tuple[Database, Database],
):
    holder, waiter = two_on_sqlite
    with ThreadPoolExecutor(1) as thread:
        with holder.transaction() as connection:
            projects.create(connection, "first", utc_now())
            waiting = thread.submit(_make, waiter, "second")
            with waiter.reading() as reader:  # readers wait for nobody
                assert projects.get(reader, "first") is None
            assert not waiting.done()
        waiting.result(timeout=30)
    with holder.reading() as connection:
        assert projects.get(connection, "first") is not None
        assert projects.get(connection, "second") is not None


def test_who_waits_in_vain_for_the_write_lock_of_sqlite_is_told(
    two_on_sqlite: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
):
    holder, waiter = two_on_sqlite
    with holder.transaction():
        monkeypatch.setattr(engine, "_BUSY_TIMEOUT_S", 0)
        with pytest.raises(UnavailableError, match="locked"):
            _make(waiter, "never")
    _make(waiter, "afterwards")


def test_a_transaction_ends_once_its_writes_are_flushed_and_holds_no_lock_meanwhile(
    two_on_sqlite: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer, other = two_on_sqlite
    flush, flushed = engine._sync, []

    def watched(file: int) -> None:
        if not flushed:
            flushed.append(b"first" in os.pread(file, os.fstat(file).st_size, 0))
            assert os.path.samestat(os.fstat(file), (tmp_path / "shared.db-wal").stat())
            _make(other, "meanwhile")
        flush(file)

    monkeypatch.setattr(engine, "_sync", watched)
    _make(writer, "first")
    assert flushed == [True]
    with other.reading() as connection:
        assert projects.get(connection, "meanwhile") is not None


def test_a_disk_that_does_not_flush_is_told_as_a_database_that_does_not_answer(
    two_on_sqlite: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
):
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(engine, "_sync", broken)
    with pytest.raises(UnavailableError, match="Input/output"):
        _make(two_on_sqlite[0], "perhaps")
