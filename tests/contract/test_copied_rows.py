"""Copied rows come back as they were, whatever their texts hold; errors are SQLAlchemy's."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from shared.db.copying import copy_rows
from shared.db.engine import Database
from shared.db.tables import jobs
from shared.errors import UnavailableError

COLUMNS = ("id", "custom_id", "status", "request", "duplicate_of")
TEXTS = [
    *("plain", "", "\\N", "\\.", "\\", "a\tb", "a\nb", "a\r\nb", "\\t\\n", "\x01\x7f", "NULL"),
    *('"quoted"', "it's", "né\U0001f600\u2028", '{"k":"\\"\\\\n"}', None),
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def test_any_text_comes_back_as_it_was(database: Database):
    rows = [(2**40 + i, name, "queued", name, i or None) for i, name in enumerate(TEXTS)]
    with database.transaction() as connection:
        copy_rows(connection, jobs, COLUMNS, rows)
        copy_rows(connection, jobs, COLUMNS, [])
        query = select(*(jobs.c[name] for name in COLUMNS)).order_by(jobs.c.id)
        assert [tuple(row) for row in connection.execute(query)] == rows


def test_rows_that_clash_are_refused_whole_as_by_sqlalchemy(database: Database):
    row = (1, "a", "queued", "{}", None)
    with pytest.raises(IntegrityError), database.transaction() as connection:
        copy_rows(connection, jobs, COLUMNS, [row, row])
    with database.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 0


def test_a_connection_that_was_cut_is_an_unavailable_database(database: Database):
    if database.is_sqlite:
        pytest.skip("its connections cannot be cut")

    def cut_off() -> None:
        with database.transaction() as connection:
            number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with database.transaction() as other:
                other.execute(text("SELECT pg_terminate_backend(:n, 5000)"), {"n": number})
            copy_rows(connection, jobs, COLUMNS, [(1, "a", "queued", "{}", None)])

    with pytest.raises(UnavailableError):
        cut_off()
    database.ping()
