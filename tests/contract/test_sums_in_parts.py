"""Sums of money lie in parts: whoever reads them gets the whole, and who writes one part does not
wait for who writes another.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

import migrations
from shared.db.engine import Connection, Database
from shared.db.repositories import (
    analytics,
    attempts,
    budgets,
    gauges,
    holds,
    projects,
    reconciling,
)
from shared.db.repositories.attempts import Closing, Intent
from shared.db.tables import PARTS
from shared.domain.attempt import AttemptStatus, Purpose

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY, MONTH = "2026-11-21", "2026-11"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    with database.transaction() as connection:
        for name in ("acme", "idle"):
            projects.create(connection, name, NOW)
        budgets.set_limits(connection, "acme", {"day": 1000})
    yield database
    database.close()


def closing(cost_nusd: int, status: AttemptStatus = AttemptStatus.BILLED) -> Closing:
    intent = Intent(
        id=f"a{cost_nusd}", job_id=1 << 24 | 1, project_id="acme", ordinal=1, rung=0, tier="low",
        purpose=Purpose.ANSWER, model="m", provider="p", key_id="k", reserved_nusd=500, day=DAY,
        month=MONTH, started_at=NOW, task_type="simple_qa",
    )  # fmt: skip
    return Closing(intent, status, cost_nusd, NOW, input_tokens=10)


def add(connection: Connection, part: int, *closings: Closing) -> None:
    attempts.add_sums(connection, closings, part)


def test_what_was_spent_is_the_sum_of_the_parts(database: Database):
    with database.transaction() as connection:
        add(connection, 0, closing(100))
        add(connection, 3, closing(20), closing(3, AttemptStatus.UNCONFIRMED))
        add(connection, 3, closing(1))
    with database.reading() as connection:
        windows = (("day", DAY), ("month", MONTH), ("total", ""))
        assert budgets.spent(connection, "acme") == dict.fromkeys(windows, (124, 3))
        for kind, period in windows:
            assert budgets.window_purse(connection, "acme", kind, period).spent_nusd == 124
            assert budgets.window_purse(connection, "idle", kind, period).spent_nusd == 0
        assert reconciling.day_sums(connection, DAY) == {("acme", DAY): 124}
        limited = holds.limited_windows(connection, DAY, MONTH)
        assert [tuple(row) for row in limited] == [("acme", "day", DAY, 1000, 124)]
        told = [tuple(row) for row in gauges.windows(connection, DAY, MONTH, 10)]
        assert told == [
            ("acme", "day", 1000, 124, 3),
            ("acme", "month", None, 124, 3),
            ("acme", "total", None, 124, 3),
        ]
        counted = connection.execute(text("SELECT sum(attempts) AS n FROM usage")).scalar_one()
        assert int(counted) == 4


def test_the_sums_of_a_model_are_the_sums_of_the_parts(database: Database):
    with database.transaction() as connection:
        for part in range(PARTS):
            add(connection, part, closing(10))
    with database.reading() as connection:
        (row,) = analytics.used(
            connection, ("model",), project_id="acme", first_day=DAY, last_day=DAY, limit=9
        )
    assert (row.model, int(row.cost_nusd), int(row.attempts)) == ("m", 80, 8)


def test_who_writes_one_part_does_not_wait_for_who_writes_another(postgres_url: str):
    database = Database(postgres_url)
    with database.transaction() as connection:
        projects.create(connection, "acme", NOW)
    with database.transaction() as batch:
        add(batch, attempts.sums_part("batch@host"), closing(20))
        with database.transaction() as chat:
            chat.execute(text("SET LOCAL lock_timeout = '1s'"))
            add(chat, 0, closing(100))
    with database.reading() as connection:
        assert budgets.spent(connection, "acme")["total", ""] == (120, 0)
    database.close()


def test_workers_for_batches_leave_the_first_part_to_chats():
    parts = {attempts.sums_part(f"batch-{number}@host") for number in range(100)}
    assert parts == set(range(1, PARTS))


def test_going_back_adds_the_parts_up(blank_database_url: str):
    migrations.upgrade(blank_database_url)
    database = Database(blank_database_url)
    with database.transaction() as connection:
        projects.create(connection, "acme", NOW)
        add(connection, 0, closing(100))
        add(connection, 5, closing(20))
    migrations.downgrade(blank_database_url, "0021")
    with database.reading() as connection:
        spent = text("SELECT spent_nusd FROM spend WHERE kind = 'day'")
        assert connection.execute(spent).scalars().all() == [120]
        costs = connection.execute(text("SELECT cost_nusd FROM usage")).scalars().all()
        assert costs == [120]
    migrations.upgrade(blank_database_url)
    with database.reading() as connection:
        assert budgets.spent(connection, "acme")["day", DAY] == (120, 0)
    database.close()
