"""Duplicates take the end of the job they wait for, whoever ended it and however many they are."""

from datetime import timedelta

import pytest

from shared.budget.ledger import Ledger
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import (
    batch_moves,
    duplicates,
    job_claims,
    retrying,
    staging,
    webhook_endpoints,
)
from shared.db.repositories.duplicates import Family
from shared.domain.job import JobStatus, job_id_of
from tests.integration.repair.mill import LEASE, NOW, Mill
from worker.maintenance.answer_sharer import AnswerSharer
from worker.maintenance.batch_closer import BatchCloser
from worker.maintenance.job_rescuer import JobRescuer
from worker.work_marks import LeftMarks

LATER = NOW + LEASE + timedelta(seconds=1)


@pytest.fixture
def sharer(database: Database) -> AnswerSharer:
    return AnswerSharer(database)


def test_what_recording_left_of_a_large_family_is_shared(mill: Mill, sharer: AnswerSharer):
    number = mill.batch(5002, duplicates=5000)
    mill.finish(number, mill.claim(number, 1), 1)

    assert sharer.run_once(NOW) == 5000

    row = mill.row(number)
    assert (row.completed, row.status) == (5001, "in_progress")
    shared = mill.result(number, 5002)
    assert (shared.duplicate_of, shared.attempts, shared.cost_nusd) == (job_id_of(number, 1), 0, 0)
    mill.finish(number, mill.claim(number, 2), 2)
    assert mill.row(number).status == "completed"
    assert sharer.run_once(NOW) == 0


def test_a_duplicate_is_neither_sent_nor_claimed(mill: Mill, database: Database):
    number = mill.batch(3, duplicates=2)
    first = job_id_of(number, 1)
    with database.transaction() as connection:
        assert staging.stageable(connection, number, NOW, 10) == [first]
        ids = [job_id_of(number, line) for line in (1, 2, 3)]
        assert job_claims.claim(connection, ids, "0" * 32, LATER) == 1
        assert [job.id for job in job_claims.claimed(connection, ids, "0" * 32)] == [first]
        assert staging.batches_with_waiting_jobs(connection) == []


def test_a_job_that_others_wait_for_is_asked_by_another_worker_when_its_own_dies(
    mill: Mill, sharer: AnswerSharer, database: Database, ledger: Ledger, marks: LeftMarks
):
    number = mill.batch(4, duplicates=3)
    dead = mill.claim(number, 1)
    JobRescuer(database, ledger, marks, max_deaths=3).run_once(LATER)
    mill.finish(number, dead, 1)  # too late: its claim is gone
    assert sharer.run_once(LATER) == 0
    assert mill.statuses(number) == {"queued": 4}

    mill.finish(number, mill.claim(number, 1, now=LATER), 1)

    assert sharer.run_once(LATER) == 3
    assert mill.statuses(number) == {"completed": 4}
    assert mill.row(number).status == "completed"


def test_a_job_that_kills_its_workers_takes_its_duplicates_with_it_and_kills_no_more(
    mill: Mill, sharer: AnswerSharer, database: Database, ledger: Ledger, marks: LeftMarks
):
    number = mill.batch(3, duplicates=2)
    rescuer = JobRescuer(database, ledger, marks, max_deaths=1)
    mill.claim(number, 1)
    rescuer.run_once(LATER)

    assert sharer.run_once(LATER) == 2

    assert mill.statuses(number) == {"failed": 3}
    assert mill.result(number, 3).error["code"] == "poison"
    assert mill.row(number).status == "completed"


def test_failed_duplicates_that_are_retried_wait_again(
    mill: Mill, sharer: AnswerSharer, database: Database, ledger: Ledger, marks: LeftMarks
):
    number = mill.batch(3, duplicates=2)
    mill.claim(number, 1)
    JobRescuer(database, ledger, marks, max_deaths=1).run_once(LATER)
    sharer.run_once(LATER)
    with database.transaction() as connection:
        batch_moves.reopen(connection, number, LATER + timedelta(days=1))
    assert not retrying.take_step(database, number, LATER)

    with database.transaction() as connection:
        assert staging.stageable(connection, number, LATER, 10) == [job_id_of(number, 1)]
    assert sharer.run_once(LATER) == 0
    mill.finish(number, mill.claim(number, 1, now=LATER), 1)
    assert sharer.run_once(LATER) == 2
    assert mill.statuses(number) == {"completed": 3}


def test_duplicates_of_a_cancelled_batch_are_cancelled_and_share_nothing(
    mill: Mill, sharer: AnswerSharer, database: Database
):
    number = mill.batch(3, duplicates=2)
    token = mill.claim(number, 1)
    with database.transaction() as connection:
        batch_moves.cancel(connection, number, NOW)
    BatchCloser(database).run_once(NOW)
    mill.finish(number, token, 1)  # its call was in flight: kept

    assert sharer.run_once(NOW) == 0
    assert mill.statuses(number) == {"completed": 1, "cancelled": 2}
    assert mill.row(number).status == "cancelled"


def test_each_answer_of_a_family_is_announced_once_where_somebody_asked(
    mill: Mill, sharer: AnswerSharer, database: Database
):
    number = mill.batch(4, duplicates=2)
    with database.transaction() as connection:
        url, kinds = "https://example.com/x", ["job.completed"]
        webhook_endpoints.create(connection, "acme", url, "x", kinds, NOW)
    mill.finish(number, mill.claim(number, 1), 1)
    sharer.run_once(NOW)
    sharer.run_once(NOW)
    assert mill.events().count("job.completed") == 2


def test_two_who_share_at_once_end_each_duplicate_once(mill: Mill, database: Database):
    number = mill.batch(301, duplicates=300)
    mill.finish(number, mill.claim(number, 1), 1)
    family = Family(number, mill.row(number).id, "acme")
    with database.transaction() as connection:
        first = duplicates.share(connection, family, utc_now(), limit=100)
        batch_moves.add_progress(connection, {number: first}, utc_now())
    AnswerSharer(database).run_once(utc_now())
    assert mill.row(number).completed == 301
    assert mill.job(number, 301).status == JobStatus.COMPLETED
