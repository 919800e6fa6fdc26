"""Upgraded databases are the tables of shared/db/tables, on both databases, and back."""

import re
import threading
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, Index, create_engine, inspect, text
from sqlalchemy.schema import CreateIndex

import migrations
from shared.db.tables import metadata
from shared.errors import UnavailableError


@pytest.fixture
def engine(blank_database_url: str):
    engine = create_engine(blank_database_url)
    yield engine
    engine.dispose()


def difference(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        options = {"compare_type": True, "target_metadata": metadata}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )


def bare(sql: str) -> str:
    """A condition without what PostgreSQL adds to it: casts, brackets, = ANY (ARRAY[...])."""
    sql = re.sub(r"::(text|character varying)(\[\])?", "", sql.lower())
    return re.sub(r"[\s()\[\]]|anyarray", "", sql.replace("= any", "in").replace("array", ""))


def checks_of(engine: Engine, table: str) -> dict[str, str]:
    found = inspect(engine).get_check_constraints(table)
    return {str(check["name"]): bare(check["sqltext"]) for check in found}


def test_an_upgraded_database_is_the_tables(blank_database_url: str, engine: Engine):
    migrations.upgrade(blank_database_url)
    assert difference(engine) == []


def test_every_check_is_in_the_database_with_the_same_condition(
    blank_database_url: str, engine: Engine
):
    migrations.upgrade(blank_database_url)
    for table in metadata.tables.values():
        wanted = {
            str(c.name): bare(str(c.sqltext))
            for c in table.constraints
            if isinstance(c, CheckConstraint)
        }
        assert checks_of(engine, table.name) == wanted, table.name


def test_partial_indexes_have_their_condition(blank_database_url: str, engine: Engine):
    migrations.upgrade(blank_database_url)
    for table in metadata.tables.values():
        for index in table.indexes:
            assert bare(_condition(str(_definition(engine, index)))) == bare(
                _condition(str(CreateIndex(index).compile(engine)))
            ), index.name


def _definition(engine: Engine, index: Index) -> str:
    query = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = :name"
        if engine.dialect.name == "sqlite"
        else "SELECT indexdef FROM pg_indexes WHERE indexname = :name"
    )
    with engine.connect() as connection:
        return str(connection.execute(text(query), {"name": index.name}).scalar_one())


def _condition(create: str) -> str:
    return create.partition(" WHERE ")[2]


def test_down_to_nothing_and_up_again_gives_the_tables(blank_database_url: str, engine: Engine):
    migrations.upgrade(blank_database_url)
    migrations.downgrade(blank_database_url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrations.upgrade(blank_database_url)
    assert difference(engine) == []


def test_a_table_that_is_made_anew_keeps_its_rows_and_gives_no_number_twice(
    blank_database_url: str, engine: Engine
):
    migrations.upgrade(blank_database_url, "0009")
    moment = "'2026-11-21 12:00:00+00:00'"
    made = (
        "INSERT INTO batches (id, project_id, status, priority, content_sha256, metadata, "
        "completion_window, created_at, expires_at) VALUES (:id, 'acme', 'failed', 'batch', '0', "
        f"'{{}}', '24h', {moment}, {moment}) RETURNING number"
    )
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO projects (id, created_at, routing) VALUES ('acme', {moment}, '{{}}')"
            )
        )
        kept, gone = (connection.execute(text(made), {"id": i}).scalar_one() for i in ("a", "b"))
        connection.execute(
            text(
                "INSERT INTO files (id, project_id, batch_number, purpose, filename, created_at) "
                f"VALUES ('f', 'acme', :number, 'batch_output', 'f', {moment})"
            ),
            {"number": kept},
        )
        connection.execute(text("DELETE FROM batches WHERE number = :n"), {"n": gone})
    for step in (migrations.upgrade, lambda url: migrations.downgrade(url, "0009")):
        step(blank_database_url)
        with engine.begin() as connection:
            assert connection.execute(text("SELECT number FROM batches")).scalars().all() == [kept]
            assert connection.execute(text("SELECT batch_number FROM files")).scalar_one() == kept
            new = connection.execute(text(made), {"id": "c"}).scalar_one()
            assert new > gone
            connection.execute(text("DELETE FROM batches WHERE number = :n"), {"n": new})
        gone = new


def test_at_head_only_after_the_upgrade(blank_database_url: str):
    assert not migrations.at_head(blank_database_url)
    migrations.upgrade(blank_database_url)
    assert migrations.at_head(blank_database_url)
    migrations.downgrade(blank_database_url)
    assert not migrations.at_head(blank_database_url)


def test_upgrades_that_race_all_end_at_the_head(blank_database_url: str):
    barrier, errors = threading.Barrier(4), []

    def upgrade() -> None:
        barrier.wait()
        try:
            migrations.upgrade(blank_database_url)
        except BaseException as error:  # noqa: BLE001  (shown by the assertion below)
            errors.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrations.at_head(blank_database_url)


def test_a_step_that_fails_leaves_nothing_behind(blank_database_url: str, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE worker_heartbeats (id INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrations.upgrade(blank_database_url)
    assert inspect(engine).get_table_names() == ["worker_heartbeats"]


def test_a_database_that_does_not_answer_is_told_apart():
    with pytest.raises(UnavailableError):
        migrations.upgrade("postgresql+psycopg://mill@127.0.0.1:1/mill")
