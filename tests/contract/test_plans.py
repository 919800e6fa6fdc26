"""No reading grows with what has ended: each reads an index of what it is about, on both databases.

PostgreSQL tells how many rows it read, so it is asked twice, the second time in a database of four
times as many ended jobs. SQLite tells only how it looks: never through a whole table.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks.growth import HELD, RUNNING, STAGED, Grown, grow
from benchmarks.plans import Plan, ask, questions
from shared.db.engine import Database
from shared.db.tables import OPEN_BATCH
from shared.domain.batch import OPEN, BatchStatus
from tests.servers.postgres import PostgresServer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JOBS = 800
"""In a batch; the running batch's own jobs may all be read."""
UNDER_WAY = STAGED + RUNNING + HELD
SMALL_TABLES = (
    "anon_1",
    "projects",
    "spend",
    "file_intakes",
    "worker_heartbeats",
    "webhook_endpoints",
)
"""One row a project, an upload, a process: to read them all is the best way."""
PARTIAL = re.compile(
    "ix_(jobs_(stageable|leased|held|following)|attempts_open|batches_open|batches_submitted_by_all"
    "|outbox_waiting|webhook_deliveries_due|files_deleted)"
)
"""Indexes that hold only what is asked for, and so may be read in their order."""
NAMES = list(questions(Grown(2, JOBS, 1, NOW)))


def filled(url: str, batches: int, chats: int) -> tuple[Database, Grown]:
    database = Database(url)
    return database, grow(database, batches, JOBS, chats, NOW)


@pytest.fixture(scope="module")
def rows_read(
    postgres_server: PostgresServer, postgres_template: str
) -> dict[str, tuple[Plan | None, ...]]:
    """By question, its dearest statement in the smaller and in the larger database."""
    found = []
    for batches, chats in ((3, 700), (12, 2800)):
        name = postgres_server.create_database(postgres_template)
        database, grown = filled(postgres_server.url(name), batches, chats)
        with database.engine.begin() as connection:
            # In tables of a few pages the server rightly reads all; of large ones it would not.
            connection.execute(text(f"ALTER DATABASE {name} SET enable_seqscan = off"))
        database.engine.dispose()
        found.append({q: ask(database, q, question) for q, question in questions(grown).items()})
        database.close()
        postgres_server.drop_database(name)
    return {
        name: tuple(
            max(each[name].plans, key=lambda p: p.rows or 0, default=None) for each in found
        )
        for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_postgresql_reads_no_more_rows_where_more_has_ended(
    rows_read: dict[str, tuple[Plan | None, Plan | None]], name: str
):
    few, many = rows_read[name]
    assert few is not None
    assert many is not None
    allowed = max(few.rows or 0, UNDER_WAY)
    assert (many.rows or 0) <= allowed, (many.steps, many.statement)


@pytest.fixture(scope="module")
def grown_sqlite(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Grown]]:
    path = tmp_path_factory.mktemp("grown") / "promptmill.db"
    path.write_bytes(sqlite_template.read_bytes())
    database, grown = filled(f"sqlite:///{path}", 3, 100)
    yield database, grown
    database.close()


@pytest.mark.parametrize("name", NAMES)
def test_sqlite_never_looks_through_a_whole_table(grown_sqlite: tuple[Database, Grown], name: str):
    database, grown = grown_sqlite
    for plan in ask(database, name, questions(grown)[name]).plans:
        for step in plan.steps:
            is_table = step.startswith("SCAN") and "VIRTUAL TABLE" not in step  # but a parameter
            if is_table and step.split()[1] not in SMALL_TABLES:
                assert PARTIAL.search(step), (step, plan.statement)


def test_the_index_of_open_batches_holds_every_open_status():
    assert all((f"'{status}'" in OPEN_BATCH) == (status in OPEN) for status in BatchStatus)
