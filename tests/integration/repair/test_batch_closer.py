"""Batches that nobody else ends are ended, and every line of theirs with them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, jobs, retrying
from shared.domain.job import JobStatus
from tests.integration.repair.mill import LEASE, NOW, Mill
from worker.maintenance.batch_closer import UPLOAD_LOST_AFTER, BatchCloser
from worker.maintenance.job_rescuer import JobRescuer
from worker.maintenance.uptime import Uptime
from worker.work_marks import LeftMarks

SOON = NOW + timedelta(seconds=60)
LATER = NOW + timedelta(seconds=61)


@pytest.fixture
def closer(database: Database) -> BatchCloser:
    return BatchCloser(database)


def test_a_batch_in_time_is_left_alone(mill: Mill, closer: BatchCloser):
    mill.batch(2, expires_at=SOON)
    assert closer.run_once(NOW) == 0


def test_a_batch_out_of_time_expires_with_an_error_for_each_line(mill: Mill, closer: BatchCloser):
    number = mill.batch(3, expires_at=SOON)
    mill.hold(number, "total:acme", 5, 2)
    closer.run_once(LATER)
    row = mill.row(number)
    assert (row.status, row.expired) == ("expired", 3)
    assert mill.statuses(number) == {"expired": 3}
    assert mill.result(number, 2).error["code"] == "batch_expired"
    assert mill.events() == ["batch.expired"]


def test_calls_in_flight_are_finished_and_kept_before_a_batch_expires(
    mill: Mill, closer: BatchCloser
):
    number = mill.batch(3, expires_at=SOON)
    token = mill.claim(number, 1)
    closer.run_once(LATER)
    assert mill.row(number).status == "finalizing"
    mill.finish(number, token, 1)
    row = mill.row(number)
    assert (row.status, row.completed, row.expired) == ("expired", 1, 2)


def test_a_job_that_a_rescue_puts_back_into_an_ending_batch_is_ended_too(
    mill: Mill, closer: BatchCloser, database: Database, ledger: Ledger, marks: LeftMarks
):
    number = mill.batch(1, expires_at=SOON)
    mill.claim(number, 1, now=SOON)
    closer.run_once(LATER)
    dead_at = LATER + LEASE
    assert JobRescuer(database, ledger, marks, max_deaths=3).run_once(dead_at) == 1
    closer.run_once(dead_at)
    assert mill.row(number).status == "expired"


def test_a_cancellation_left_half_way_is_finished(
    mill: Mill, closer: BatchCloser, database: Database
):
    number = mill.batch(10)
    with database.transaction() as connection:
        batch_moves.cancel(connection, number, NOW)
        jobs.end_waiting(connection, number, JobStatus.CANCELLED, NOW, limit=4)
    closer.run_once(NOW)
    row = mill.row(number)
    assert (row.status, row.cancelled) == ("cancelled", 10)
    assert mill.statuses(number) == {"cancelled": 10}
    assert mill.events() == ["batch.cancelled"]


@pytest.fixture
def failed(mill: Mill) -> int:
    """A batch of five lines that ended: the second one was answered, the others failed."""
    number = mill.batch(5)
    mill.finish(number, mill.claim(number, 2), 2)
    mill.finish(number, mill.claim(number, 1, 3, 4, 5), 1, 3, 4, 5, failed=True)
    return number


def reopened(database: Database, number: int) -> None:
    with database.transaction() as connection:
        batch_moves.reopen(connection, number, SOON)


def test_a_retry_left_half_way_is_finished_and_tries_each_job_once(
    mill: Mill, closer: BatchCloser, database: Database, failed: int
):
    reopened(database, failed)
    assert retrying.take_step(database, failed, NOW, at_once=2)
    row = mill.row(failed)
    assert (row.status, row.retry_at_line, row.failed) == ("in_progress", 3, 2)
    assert mill.statuses(failed) == {"completed": 1, "failed": 2, "queued": 2}
    assert mill.result(failed, 1) is None
    mill.finish(failed, mill.claim(failed, 1), 1)
    mill.finish(failed, mill.claim(failed, 3), 3, failed=True)
    row = mill.row(failed)
    assert (row.status, row.failed, row.completed) == ("in_progress", 3, 2), "two are to come"

    assert closer.run_once(NOW) == 1
    row = mill.row(failed)
    assert (row.retry_at_line, row.failed) == (None, 1)
    assert mill.statuses(failed) == {"completed": 2, "failed": 1, "queued": 2}
    mill.finish(failed, mill.claim(failed, 4, 5), 4, 5)
    assert (mill.row(failed).status, mill.row(failed).completed) == ("completed", 4)
    assert closer.run_once(NOW) == 0


def test_a_retry_whose_jobs_end_before_its_last_look_is_closed_by_it(
    mill: Mill, closer: BatchCloser, database: Database, failed: int
):
    reopened(database, failed)
    assert retrying.take_step(database, failed, NOW, at_once=4)
    mill.finish(failed, mill.claim(failed, 1, 3, 4, 5), 1, 3, 4, 5)
    assert mill.row(failed).status == "in_progress"
    closer.run_once(NOW)
    assert mill.row(failed).status == "completed"
    assert mill.events() == ["batch.completed"] * 2


def test_several_who_retry_a_batch_at_once_put_each_job_back_once(
    mill: Mill, database: Database, failed: int
):
    reopened(database, failed)

    def put_back(_: int) -> None:
        while mill.row(failed).retry_at_line is not None:
            retrying.take_step(database, failed, NOW, at_once=1)

    with ThreadPoolExecutor(4) as several:
        list(several.map(put_back, range(4)))
    assert mill.row(failed).failed == 0
    assert mill.statuses(failed) == {"completed": 1, "queued": 4}


def test_a_batch_cancelled_amid_its_retry_keeps_the_errors_that_were_not_taken_back(
    mill: Mill, closer: BatchCloser, database: Database, failed: int
):
    reopened(database, failed)
    retrying.take_step(database, failed, NOW, at_once=1)
    with database.transaction() as connection:
        batch_moves.cancel(connection, failed, NOW)
    assert not retrying.take_step(database, failed, NOW)
    closer.run_once(NOW)
    row = mill.row(failed)
    assert (row.status, row.completed, row.failed, row.cancelled) == ("cancelled", 1, 3, 1)
    assert mill.statuses(failed) == {"completed": 1, "failed": 3, "cancelled": 1}
    assert mill.result(failed, 5).error["code"] == "x"


def test_others_come_between_the_steps_of_a_retry(mill: Mill, database: Database):
    number = mill.batch(2_500)
    lines = range(1, 2_501)
    mill.finish(number, mill.claim(number, *lines), *lines, failed=True)
    reopened(database, number)
    seen: list[int] = []

    def note(_: float) -> None:
        with database.transaction():  # nobody holds the write lock
            seen.append(mill.row(number).failed)

    BatchCloser(database, pause=note).run_once(NOW)
    assert seen == [1_500, 500, 0]


def test_an_upload_that_died_fails_and_its_lines_are_cancelled(mill: Mill, closer: BatchCloser):
    number = mill.batch(3, sealed=False)
    assert closer.run_once(NOW) == 0
    assert closer.run_once(NOW + UPLOAD_LOST_AFTER - timedelta(seconds=1)) == 0
    assert closer.run_once(NOW + UPLOAD_LOST_AFTER) == 1
    row = mill.row(number)
    assert (row.status, row.cancelled, row.error["code"]) == ("failed", 3, "upload_lost")
    assert mill.statuses(number) == {"cancelled": 3}
    assert mill.result(number, 1) is not None
    assert mill.events() == ["batch.failed"]


def test_an_upload_that_still_grows_is_not_lost(
    mill: Mill, closer: BatchCloser, database: Database
):
    number = mill.batch(3, sealed=False)
    closer.run_once(NOW)
    with database.transaction() as connection:
        batches.add_taken(connection, number, lines=1, rejected=1)
    assert closer.run_once(NOW + UPLOAD_LOST_AFTER) == 0
    assert mill.row(number).status == "validating"


def test_an_upload_that_an_outage_kept_from_growing_is_not_lost(mill: Mill, database: Database):
    uptime = Uptime(longest_gap=UPLOAD_LOST_AFTER)
    closer = BatchCloser(database, uptime=uptime)
    number = mill.batch(3, sealed=False)
    uptime.answered(NOW)
    closer.run_once(NOW)
    end = NOW + 2 * UPLOAD_LOST_AFTER  # of the outage, which began just after
    assert closer.run_once(end) == 0
    uptime.answered(end)
    assert closer.run_once(end) == 0
    uptime.answered(end + UPLOAD_LOST_AFTER / 2)
    assert closer.run_once(end + UPLOAD_LOST_AFTER - timedelta(seconds=1)) == 0
    assert mill.row(number).status == "validating"
    assert closer.run_once(end + UPLOAD_LOST_AFTER) == 1


def test_a_batch_whose_last_job_ended_unnoticed_is_closed(mill: Mill, closer: BatchCloser):
    number = mill.batch(2)
    mill.execute("UPDATE jobs SET status = 'completed'")
    mill.set_status(number, completed=2)
    assert closer.run_once(NOW) == 1
    assert mill.row(number).status == "completed"
    assert mill.events() == ["batch.completed"]
    assert closer.run_once(NOW) == 0
