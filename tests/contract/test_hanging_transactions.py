"""What a process that hangs inside a transaction has locked, PostgreSQL takes from it."""

import pytest
from sqlalchemy import select, text, update

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
