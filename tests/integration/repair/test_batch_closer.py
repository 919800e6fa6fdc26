"""Batches that nobody else ends are ended, and every line of theirs with them."""

from datetime import timedelta

import pytest

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, jobs
from shared.domain.job import JobStatus
from tests.integration.repair.mill import LEASE, NOW, Mill
from worker.maintenance.batch_closer import UPLOAD_LOST_AFTER, BatchCloser
from worker.maintenance.job_rescuer import JobRescuer

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
    mill: Mill, closer: BatchCloser, database: Database, ledger: Ledger
):
    number = mill.batch(1, expires_at=SOON)
    mill.claim(number, 1, now=SOON)
    closer.run_once(LATER)
    dead_at = LATER + LEASE
    assert JobRescuer(database, ledger, max_deaths=3).run_once(dead_at) == 1
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


def test_a_batch_whose_last_job_ended_unnoticed_is_closed(mill: Mill, closer: BatchCloser):
    number = mill.batch(2)
    mill.execute("UPDATE jobs SET status = 'completed'")
    mill.set_status(number, completed=2)
    assert closer.run_once(NOW) == 1
    assert mill.row(number).status == "completed"
    assert mill.events() == ["batch.completed"]
    assert closer.run_once(NOW) == 0
