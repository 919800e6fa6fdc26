"""What is written when a chat begins: few statements, and a key that is taken harms nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from shared.db.engine import Connection, Database
from shared.db.repositories import awaited, batches, projects
from shared.db.repositories.batches import NewBatch
from shared.domain.batch import AWAITED_PREFIX, BatchStatus, Priority
from shared.errors import ConflictError

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = Database(database_url)
    with database.transaction() as connection:
        projects.create(connection, "acme", NOON)
        yield connection
    database.close()


def begin(connection: Connection, name: str, key: str | None = None) -> int:
    new = NewBatch(
        id=f"{AWAITED_PREFIX}_{name}",
        project_id="acme",
        content_sha256="0" * 64,
        priority=Priority.INTERACTIVE,
        completion_window="60s",
        created_at=NOON,
        expires_at=NOON + timedelta(seconds=60),
        idempotency_key=key,
    )
    return awaited.open_batch(connection, new, ["{}", "{}"], NOON + timedelta(seconds=57))


def test_a_chat_without_a_key_is_two_statements_and_runs(connection: Connection) -> None:
    said: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        said.append(" ".join(statement.split()[:3]))

    event.listen(connection, "before_cursor_execute", note)
    event.listen(connection, "savepoint", lambda _, name: said.append(name))
    number = begin(connection, "a")
    assert said == ["INSERT INTO batches", "INSERT INTO jobs"]
    made = batches.by_number(connection, number)
    assert made is not None
    assert (made.status, made.total) == (BatchStatus.IN_PROGRESS, 2)
    assert made.in_progress_at == NOON


def test_after_a_key_that_was_taken_the_transaction_goes_on(connection: Connection) -> None:
    first = begin(connection, "a", "key")
    with pytest.raises(ConflictError):
        begin(connection, "b", "key")
    known = batches.by_idempotency_key(connection, "acme", "key")
    assert known is not None
    assert known.number == first
    assert begin(connection, "c", "another") != first
