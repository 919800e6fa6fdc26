"""Uploads whose first lines run while the last ones are still being sent: what holds on the way."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from producer import early_upload
from producer.api import taking_in
from producer.bootstrap import ProducerContext, build
from shared.db.repositories import batches, staging
from shared.db.tables import jobs as table
from shared.domain.batch import BatchStatus
from shared.domain.job import JobStatus, job_id_of
from tests.integration.producer.finished import finish
from tests.integration.producer.slow_upload import JSONL, uploading
from tests.servers.waiting import wait_for as wait
from worker.maintenance.answer_sharer import AnswerSharer
from worker.maintenance.batch_closer import UPLOAD_LOST_AFTER, BatchCloser
from worker.maintenance.job_stager import JobStager

STARTS_AFTER = 20
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""The suite's time is short; what takes locks is shown on both."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is read as soon as nothing more comes."""
    monkeypatch.setattr(taking_in, "_WITHIN_S", 0.01)


@pytest.fixture
def context(context: ProducerContext) -> Iterator[ProducerContext]:
    changed = {"intake_starts_after_lines": STARTS_AFTER, "max_batch_lines": 60}
    early = build(context.settings.model_copy(update=changed))
    yield early
    early.close()


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"prompt": "What is %d + 1?"}\n' % n for n in range(first, last + 1))


def only_batch(context: ProducerContext) -> Any:
    with context.database.reading() as connection:
        found = batches.page(connection, "default", limit=10)
    return found[0] if found else None


def wait_for(context: ProducerContext, holds: Callable[[Any], bool]) -> Any:
    """The only batch, once it is as it should be."""

    def there() -> bool:
        row = only_batch(context)
        return row is not None and holds(row)

    wait(there, "the batch is as it should be")
    return only_batch(context)


def is_filling(row: Any) -> bool:
    return bool(row.status == BatchStatus.FILLING)


def put(api: httpx.Client, content: bytes, key: str) -> httpx.Response:
    return api.post("/v1/batches", content=content, headers=JSONL | {"Idempotency-Key": key})


def test_the_first_job_is_completed_before_the_last_line_is_sent(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25)) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        assert row.status == BatchStatus.FILLING
        stager = JobStager(context.database, context.publisher, chunk_size=10)
        assert stager.run_once(context.clock()) == 25
        finish(context, row.id, 1)
        seen = api.get(f"/v1/batches/{row.id}").json()
        assert (seen["status"], seen["promptmill"]["filling"]) == ("in_progress", True)
        assert seen["request_counts"] == {"total": 25, "completed": 1, "failed": 0}
        assert len(api.get(f"/v1/batches/{row.id}/results").text.splitlines()) == 1

        upload.send(lines(26, 30))
        wait_for(context, lambda row: row.total == 30)
        answer = upload.end()

    made = answer.json()
    assert (made["id"], made["promptmill"]["filling"]) == (row.id, False)
    assert made["request_counts"]["total"] == 30
    assert stager.run_once(context.clock()) == 5
    for line in range(2, 31):
        finish(context, row.id, line)
    assert only_batch(context).status == BatchStatus.COMPLETED


@ON_SQLITE
def test_a_batch_that_is_filled_is_not_over_when_all_that_is_in_has_ended(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 20)) as upload:
        row = wait_for(context, is_filling)
        for line in range(1, 21):
            finish(context, row.id, line)
        BatchCloser(context.database).run_once(context.clock())
        assert only_batch(context).status == BatchStatus.FILLING
        # A blank line more: what is in was all there is, which is known only now.
        upload.send(b"\n")
        made = upload.end().json()
    assert (made["status"], made["request_counts"]["completed"]) == ("completed", 20)


@ON_POSTGRES
@pytest.mark.parametrize("params", [{"start": "complete"}, {"strict": "true"}])
def test_a_file_that_is_to_be_complete_first_creates_nothing_before(
    context: ProducerContext, api: httpx.Client, params: dict[str, str]
):
    with uploading(api, lines(1, 40), **params) as upload:
        # One that may begin, sent later, shows that the other had its time.
        with uploading(api, lines(1, 21), key="early") as early:
            wait_for(context, is_filling)
            early.end()
        with context.database.reading() as connection:
            assert len(batches.page(connection, "default", limit=10)) == 1
        assert upload.end().json()["request_counts"]["total"] == 40


@ON_SQLITE
def test_what_cannot_begin_early_is_refused_where_that_was_asked_for(api: httpx.Client):
    for params in ({"strict": "true", "start": "early"}, {"start": "at once"}):
        answer = api.post("/v1/batches", content=lines(1, 2), headers=JSONL, params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "start")


def test_an_upload_that_died_is_sent_on_under_its_key_and_each_line_is_in_once(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25), key="k") as upload:
        row = wait_for(context, lambda row: row.total == 25)
        finish(context, row.id, 1)
        upload.send(b'{"prompt": "What is 26')  # it dies within a line
        upload.break_off()
    assert only_batch(context).status == BatchStatus.FILLING

    other = put(api, lines(1, 24) + lines(30, 40), "k")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    made = put(api, lines(1, 40), "k").json()

    assert (made["id"], made["status"], made["promptmill"]["filling"]) == (
        row.id,
        "in_progress",
        False,
    )
    assert made["request_counts"] == {"total": 40, "completed": 1, "failed": 0}
    with context.database.reading() as connection:
        waiting = staging.stageable(connection, row.number, context.clock(), 100)
    assert [job_id & 0xFFFFFF for job_id in waiting] == list(range(2, 41))
    assert put(api, lines(1, 40), "k").json()["id"] == row.id
    assert put(api, lines(1, 41), "k").status_code == 409


@ON_POSTGRES
def test_a_slow_upload_sent_again_goes_on_where_the_first_one_died_while_it_is_sent(
    context: ProducerContext, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(early_upload, "_TRIED_EVERY_S", 0.0)
    with uploading(api, lines(1, 30), key="k") as upload:
        row = wait_for(context, lambda row: row.total == 30)
        upload.break_off()
    with uploading(api, lines(1, 25), key="k") as again:
        # What is repeated adds no line, but keeps the batch from being given up as lost.
        wait_for(context, lambda row: row.fed_at is not None)
        again.send(lines(26, 35))
        wait_for(context, lambda row: row.total == 35)
        assert only_batch(context).status == BatchStatus.FILLING
        assert again.end().json()["id"] == row.id
    assert only_batch(context).total == 35


def test_two_uploads_under_one_key_fill_one_batch(context: ProducerContext, api: httpx.Client):
    with uploading(api, lines(1, 25), key="k") as slow:
        row = wait_for(context, lambda row: row.total == 25)
        fast = put(api, lines(1, 40), "k").json()
        assert (fast["id"], fast["request_counts"]["total"]) == (row.id, 40)
        slow.send(lines(26, 40))
        made = slow.end().json()
    assert (made["id"], made["request_counts"]["total"]) == (row.id, 40)


@ON_SQLITE
def test_two_different_files_under_one_key_that_begin_alike_are_told_apart(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25), key="k") as slow:
        wait_for(context, lambda row: row.total == 25)
        assert put(api, lines(1, 40), "k").is_success
        slow.send(lines(50, 55))
        answer = slow.end()
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert only_batch(context).total == 40


@ON_POSTGRES
def test_an_upload_without_a_key_that_dies_ends_at_once_and_keeps_its_answers(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25)) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        finish(context, row.id, 3, cost_nusd=7)
        upload.break_off()
    wait_for(context, lambda row: row.status == BatchStatus.CANCELLING)
    BatchCloser(context.database).run_once(context.clock())
    assert_cut_short(context, api, row, "upload_lost")


@ON_SQLITE
def test_an_upload_with_a_key_has_fifteen_minutes_and_its_key_buys_nothing_twice(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25), key="k") as upload:
        row = wait_for(context, lambda row: row.total == 25)
        finish(context, row.id, 3, cost_nusd=7)
        upload.break_off()
    closer, now = BatchCloser(context.database), context.clock()
    closer.run_once(now)
    closer.run_once(now + UPLOAD_LOST_AFTER - timedelta(seconds=1))
    context.submission.note_fed(row.number)  # somebody begins to send it again
    closer.run_once(now + UPLOAD_LOST_AFTER)
    assert only_batch(context).status == BatchStatus.FILLING
    closer.run_once(now + 2 * UPLOAD_LOST_AFTER)
    closer.run_once(now + 2 * UPLOAD_LOST_AFTER)

    assert_cut_short(context, api, row, "upload_lost")
    answer = put(api, lines(1, 40), "k")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upload_lost")
    assert row.id in answer.json()["error"]["message"]


def assert_cut_short(context: ProducerContext, api: httpx.Client, row: Any, code: str) -> None:
    """Line 3 was answered and is charged; the other 24 were called off, and it says why."""
    seen = api.get(f"/v1/batches/{row.id}").json()
    assert (seen["status"], seen["errors"]["data"][0]["code"]) == ("cancelled", code)
    assert seen["promptmill"]["cost_nusd"] == 7
    counts = seen["promptmill"]["counts"]
    assert (counts["total"], counts["completed"], counts["cancelled"]) == (25, 1, 24)
    told = api.get(f"/v1/batches/{row.id}/results").text
    assert told.count('"status":"completed"') == 1
    assert told.count('"code":"batch_cancelled"') == 24
    with context.database.reading() as connection:
        assert staging.stageable(connection, row.number, context.clock(), 10) == []


@ON_POSTGRES
def test_a_file_that_turns_out_too_long_is_refused_and_ends(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25), key="k") as upload:
        row = wait_for(context, lambda row: row.total == 25)
        finish(context, row.id, 3, cost_nusd=7)
        upload.send(lines(26, 70))
        answer = upload.end()
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_lines")
    BatchCloser(context.database).run_once(context.clock())
    assert_cut_short(context, api, row, "too_many_lines")
    again = put(api, lines(1, 50), "k")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "too_many_lines")


@ON_SQLITE
def test_one_cancelled_on_the_way_takes_no_further_line(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25)) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        assert api.post(f"/v1/batches/{row.id}/cancel").json()["status"] == "cancelled"
        upload.send(lines(26, 40))
        made = upload.end().json()
    assert (made["id"], made["status"]) == (row.id, "cancelled")
    counts = made["promptmill"]["counts"]
    assert counts["total"] == counts["cancelled"] == 25


@ON_POSTGRES
def test_one_whose_completion_window_ends_on_the_way_expires(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25)) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        BatchCloser(context.database).run_once(context.clock() + timedelta(days=2))
        upload.send(lines(26, 40))
        made = upload.end().json()
    assert (made["id"], made["status"]) == (row.id, "expired")
    assert made["promptmill"]["counts"]["expired"] == 25


@ON_SQLITE
def test_a_line_that_asks_what_was_answered_already_is_answered_alike(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, lines(1, 25)) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        finish(context, row.id, 7, text="eight")
        upload.send(lines(7, 7))
        wait_for(context, lambda row: row.duplicates == 1)
        assert AnswerSharer(context.database).run_once(context.clock()) == 1
        upload.end()
    with context.database.reading() as connection:
        assert job_status(connection, row.number, 26) == JobStatus.COMPLETED
    (line,) = [
        line
        for line in api.get(f"/v1/batches/{row.id}/results").text.splitlines()
        if '"line":26' in line
    ]
    assert '"duplicate_of":7' in line
    assert '"text":"eight"' in line


def job_status(connection: Any, number: int, line: int) -> str:
    query = select(table.c.status).where(table.c.id == job_id_of(number, line))
    return str(connection.execute(query).scalar_one())


@ON_POSTGRES
def test_bad_lines_alone_begin_nothing_and_fail_as_ever(
    context: ProducerContext, api: httpx.Client
):
    with uploading(api, b'{"prompt": 7}\n' * 25) as upload:
        row = wait_for(context, lambda row: row.total == 25)
        assert row.status == BatchStatus.VALIDATING
        made = upload.end().json()
    assert (made["status"], made["rejected_count"]) == ("failed", 25)
    assert made["errors"]["data"][0]["code"] == "no_valid_lines"


@ON_SQLITE
def test_more_uploads_at_once_than_there_is_room_for_run_when_they_are_complete(
    context: ProducerContext, api: httpx.Client
):
    for _ in range(early_upload.MOST_AT_ONCE):
        assert context.early_uploads.room.acquire(blocking=False)
    made = put(api, lines(1, 40), "k").json()
    assert (made["status"], made["request_counts"]["total"]) == ("in_progress", 40)
    context.early_uploads.room.release()
    with uploading(api, lines(1, 25)) as upload:
        wait_for(context, is_filling)
        upload.end()
    assert context.early_uploads.room.acquire(blocking=False)  # given back
