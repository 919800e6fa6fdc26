"""What whoever waits is told of a result is the row that the database holds, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.db.engine import Connection, Database
from shared.db.repositories import awaited, job_claims, projects
from shared.db.repositories.batches import NewBatch
from shared.domain.batch import AWAITED_PREFIX, Priority
from shared.domain.job import JobStatus, job_id_of
from shared.live_answers import Ended, LiveFrame, from_bytes, to_bytes
from worker.answer_cache import KeptAnswer
from worker.result_rows import remembered_row, unanswered_row

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEPT: dict[str, Any] = {
    "model": "tiny",
    "provider": "acme",
    "tier": "cheap",
    "task_type": "coding",
    "difficulty": 417,
    "finish_reason": "stop",
    "strongest_nusd": 9_000_000_000_000,
    "body": '{"choices": [{"message": {"content": "\\u00fc\\ud83d\\ude00 \u00e9"}}]}',
    "classification": {},
}
ERROR: dict[str, Any] = {"code": "x", "message": "\u00fc", "status": 418, "retry_after_s": 1.5}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = Database(database_url)
    with database.transaction() as connection:
        projects.create(connection, "acme", NOON)
        yield connection
    database.close()


def begun(connection: Connection, lines: int) -> int:
    new = NewBatch(
        id=f"{AWAITED_PREFIX}_a",
        project_id="acme",
        content_sha256="0" * 64,
        priority=Priority.INTERACTIVE,
        completion_window="60s",
        created_at=NOON,
        expires_at=NOON + timedelta(seconds=60),
    )
    return awaited.open_batch(connection, new, ["{}"] * lines, NOON + timedelta(seconds=57))


def sent(row: dict[str, Any]) -> LiveFrame:
    return from_bytes(to_bytes(Ended(1, awaited.told(row))))


def test_what_is_told_of_an_answer_and_of_an_error_is_what_is_read(connection: Connection) -> None:
    number = begun(connection, 2)
    rows = [
        remembered_row(
            job_id_of(number, 1), (), KeptAnswer(KEPT, "job_1", 1_234_567_890_123), NOON
        ),
        unanswered_row(job_id_of(number, 2), (), ERROR, NOON, JobStatus.FAILED),
    ]
    job_claims.finish(connection, rows)
    frames = [sent(row) for row in rows]
    heard = [awaited.heard(frame.result) for frame in frames if isinstance(frame, Ended)]
    assert heard == awaited.ended(connection, number)
    assert heard[0] is not None
    assert heard[0].saved_nusd == 1_234_567_890_123


def test_what_is_too_long_to_be_told_is_left_to_be_read() -> None:
    row = remembered_row(1, (), KeptAnswer(KEPT | {"body": "a" * 65_537}, "job_1", 1), NOON)
    assert sent(row) == Ended(1)


@pytest.mark.parametrize("told", [None, {"job_id": 1}, {"a": 1}, "more"])
def test_what_another_version_told_is_left_to_be_read(told: Any) -> None:
    whole = awaited.told(unanswered_row(1, (), ERROR, NOON, JobStatus.FAILED))
    assert whole is not None
    assert awaited.heard(whole) is not None
    assert awaited.heard(whole | {"new": 1} if told == "more" else told) is None
