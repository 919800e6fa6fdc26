"""Every verb in every status, on both databases: what the tables allow happens, nothing else."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, duplicates, job_claims, jobs, projects
from shared.db.repositories.batches import NewBatch
from shared.db.repositories.duplicates import Family
from shared.db.repositories.jobs import TakenLine
from shared.db.tables import batches as batches_table
from shared.db.tables import jobs as jobs_table
from shared.db.tables import outbox, results
from shared.domain.batch import MOVES as BATCH_MOVES
from shared.domain.batch import RUNS, BatchStatus, BatchVerb, Priority
from shared.domain.batch import TERMINAL as BATCH_TERMINAL
from shared.domain.blame import Guilt
from shared.domain.job import CLAIMED_VERBS, TERMINAL, JobStatus, JobVerb, job_id_of
from shared.domain.job import MOVES as JOB_MOVES
from shared.errors import ConflictError
from shared.ids import new_id

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=15)
TOKEN = "0" * 32
OTHER = "f" * 32


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def new_batch(connection: Connection) -> int:
    projects.create(connection, "acme", NOW)
    new = NewBatch(new_id("batch"), "acme", "0" * 64, Priority.BATCH, "24h", NOW, SOON)
    number = batches.create(connection, new)
    jobs.insert_lines(connection, number, [TakenLine(1, "one", "{}")], NOW)
    batches.add_taken(connection, number, lines=1, rejected=0)
    return number


# -- jobs ------------------------------------------------------------------------------------------


def job_in(connection: Connection, status: JobStatus) -> int:
    """A job of a running batch, put into a status by hand with the columns that go with it."""
    number = new_batch(connection)
    batch_moves.seal(connection, number, NOW)
    values: dict[str, Any] = {"status": status.value}
    if status is JobStatus.RUNNING:
        values |= {"claim_token": TOKEN, "lease_until": NOW}
    if status is JobStatus.HELD:
        values |= {"held_scope": "total:acme", "need_nusd": 1}
    job_id = job_id_of(number, 1)
    connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(values))
    if status in TERMINAL:
        connection.execute(insert(results), result_row(job_id, status))
    return job_id


def result_row(job_id: int, status: JobStatus) -> dict[str, Any]:
    answered = status is JobStatus.COMPLETED
    return {
        "job_id": job_id,
        "status": status.value,
        "body": "{}" if answered else None,
        "error": None if answered else {"code": "x", "message": "y"},
        "ended_at": NOW,
    }


def by_its_worker(
    write: Callable[[Connection, int], None],
) -> Callable[[Connection, int, str], None]:
    """As recording does it: only what is still claimed is written."""

    def verb(connection: Connection, job_id: int, token: str) -> None:
        if job_claims.still_claimed(connection, [(job_id, token)]):
            write(connection, job_id)

    return verb


def finishing(status: JobStatus) -> Callable[[Connection, int, str], None]:
    return by_its_worker(lambda c, i: job_claims.finish(c, [result_row(i, status)]))


def park(connection: Connection, job_id: int) -> None:
    row = {"id": job_id, "held_scope": "total:acme", "need_nusd": 1}
    job_claims.park(connection, [row | {"wait_reason": "no money", "decision": None}])


def hand_back(connection: Connection, job_id: int) -> None:
    row = {"id": job_id, "run_after": None, "wait_reason": None}
    job_claims.hand_back(connection, [row | {"waiting_since": None, "decision": None}])


def ending(status: JobStatus) -> Callable[[Connection, int, str], None]:
    """Waiting jobs are ended by whoever ends the batch, a running one by its own worker."""

    def verb(connection: Connection, job_id: int, token: str) -> None:
        jobs.end_waiting(connection, job_id >> 24, status, NOW)
        finishing(status)(connection, job_id, token)

    return verb


def alike(end: JobStatus) -> Callable[[Connection, int, str], None]:
    """The job duplicates one that has ended."""

    def verb(connection: Connection, job_id: int, _token: str) -> None:
        leader = job_id + 1
        values = {"id": leader, "status": end.value, "request": "{}"}
        connection.execute(insert(jobs_table), values)
        connection.execute(insert(results), result_row(leader, end))
        follows = update(jobs_table).where(jobs_table.c.id == job_id)
        connection.execute(follows.values(duplicate_of=leader))
        duplicates.share(connection, Family(job_id >> 24, "batch_1", "acme"), NOW)

    return verb


JOB_VERBS: dict[JobVerb, Callable[[Connection, int, str], object]] = {
    JobVerb.CLAIM: lambda c, i, _: job_claims.claim(c, [i], OTHER, SOON),
    JobVerb.COMPLETE: finishing(JobStatus.COMPLETED),
    JobVerb.FAIL: finishing(JobStatus.FAILED),
    JobVerb.PARK: by_its_worker(park),
    JobVerb.HAND_BACK: by_its_worker(hand_back),
    JobVerb.RESCUE: lambda c, i, _: job_claims.rescue(c, [i], Guilt.PRESENT),
    JobVerb.RELEASE: lambda c, i, _: jobs.release(c, [i]),
    JobVerb.CANCEL: ending(JobStatus.CANCELLED),
    JobVerb.EXPIRE: ending(JobStatus.EXPIRED),
    JobVerb.RETRY: lambda c, i, _: jobs.retry_failed(c, [i]),
    JobVerb.ANSWER_ALIKE: alike(JobStatus.COMPLETED),
    JobVerb.FAIL_ALIKE: alike(JobStatus.FAILED),
}


def status_of(connection: Connection, job_id: int) -> JobStatus:
    query = select(jobs_table.c.status).where(jobs_table.c.id == job_id)
    return JobStatus(connection.execute(query).scalar_one())


def results_of(connection: Connection, job_id: int) -> int:
    query = select(func.count()).select_from(results).where(results.c.job_id == job_id)
    return int(connection.execute(query).scalar_one())


def test_each_verb_moves_a_job_as_the_table_says_and_not_otherwise(database: Database):
    for status, verb in product(JobStatus, JobVerb):
        with database.transaction() as connection:
            job_id = job_in(connection, status)
            JOB_VERBS[verb](connection, job_id, TOKEN)
            after = status_of(connection, job_id)
            assert after is JOB_MOVES.get((status, verb), status), (status, verb)
            assert results_of(connection, job_id) == (after in TERMINAL), (status, verb)


def test_a_claim_of_what_nobody_has_had_moves_no_other_job_than_any_claim(database: Database):
    for status in JobStatus:
        with database.transaction() as connection:
            job_id = job_in(connection, status)
            job_claims.claim_untouched(connection, [job_id], OTHER, SOON)
            after = JOB_MOVES.get((status, JobVerb.CLAIM), status)
            assert status_of(connection, job_id) is after


def test_a_verb_under_another_claim_moves_nothing(database: Database):
    for status, verb in product(JobStatus, CLAIMED_VERBS):
        with database.transaction() as connection:
            job_id = job_in(connection, status)
            JOB_VERBS[verb](connection, job_id, OTHER)
            assert status_of(connection, job_id) is status, (status, verb)


def test_a_rescued_job_that_is_claimed_again_is_out_of_its_old_workers_reach(database: Database):
    for verb in CLAIMED_VERBS:
        with database.transaction() as connection:
            job_id = job_in(connection, JobStatus.RUNNING)
            job_claims.rescue(connection, [job_id], Guilt.PRESENT)
            job_claims.claim(connection, [job_id], OTHER, SOON)
            JOB_VERBS[verb](connection, job_id, TOKEN)
            assert status_of(connection, job_id) is JobStatus.RUNNING, verb


def test_no_job_of_a_batch_that_does_not_run_is_claimed(database: Database):
    for status in set(BatchStatus) - RUNS:
        with database.transaction() as connection:
            job_id = job_in(connection, JobStatus.QUEUED)
            put_batch(connection, job_id >> 24, status)
            job_claims.claim(connection, [job_id], OTHER, SOON)
            assert status_of(connection, job_id) is JobStatus.QUEUED, status


@pytest.mark.parametrize(
    "values",
    [
        {"status": "paused"},
        {"status": "running"},
        {"status": "running", "claim_token": TOKEN},
        {"claim_token": TOKEN},
        {"status": "held"},
        {"held_scope": "total:acme"},
    ],
)
def test_the_database_refuses_a_state_that_is_none(database: Database, values: dict[str, Any]):
    with database.transaction() as connection:
        job_id = job_in(connection, JobStatus.QUEUED)
        statement = update(jobs_table).where(jobs_table.c.id == job_id).values(values)
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(statement)


# -- batches ---------------------------------------------------------------------------------------


def put_batch(connection: Connection, number: int, status: BatchStatus) -> None:
    connection.execute(
        update(batches_table).where(batches_table.c.number == number).values(status=status.value)
    )


def close(connection: Connection, number: int) -> None:
    """Its only job has ended, unnoticed so far."""
    connection.execute(
        update(batches_table).where(batches_table.c.number == number).values(completed=1)
    )
    batch_moves.close_finished(connection, [number], NOW)


BATCH_VERBS: dict[BatchVerb, Callable[[Connection, int], object]] = {
    BatchVerb.START: lambda c, n: batch_moves.start(c, n, NOW),
    BatchVerb.SEAL: lambda c, n: batch_moves.seal(c, n, NOW),
    BatchVerb.REJECT: lambda c, n: batch_moves.reject(c, n, {"code": "x", "message": "y"}, NOW),
    BatchVerb.CLOSE: close,
    BatchVerb.CANCEL: lambda c, n: batch_moves.cancel(c, n, NOW),
    BatchVerb.LOSE: lambda c, n: batch_moves.lose(c, n, 1, {"code": "x", "message": "y"}, NOW),
    BatchVerb.EXPIRE: lambda c, n: batch_moves.begin_expiry(c, n, NOW),
    BatchVerb.REOPEN: lambda c, n: batch_moves.reopen(c, n, SOON),
}
_SILENT = {BatchVerb.CLOSE}
"""Asked of many batches at once: those that are not finished are passed over."""


def test_each_verb_moves_a_batch_as_the_table_says_and_not_otherwise(database: Database):
    for status, verb in product(BatchStatus, BatchVerb):
        with database.transaction() as connection:
            number = new_batch(connection)
            put_batch(connection, number, status)
            before = announced(connection)
            refused = False
            try:
                BATCH_VERBS[verb](connection, number)
            except ConflictError:
                refused = True
            row = batches.by_number(connection, number)
            assert row is not None
            after = BatchStatus(row.status)
            expected = BATCH_MOVES.get((status, verb), status)
            assert after is expected, (status, verb)
            again = (status, verb) == (BatchStatus.CANCELLING, BatchVerb.CANCEL)
            allowed = (status, verb) in BATCH_MOVES or verb in _SILENT or again
            assert refused is not allowed, (status, verb)
            ended = after is not status and after in BATCH_TERMINAL
            assert announced(connection) - before == ended, (status, verb)


def test_an_unfinished_batch_is_never_closed(database: Database):
    for status in BatchStatus:
        with database.transaction() as connection:
            number = new_batch(connection)
            put_batch(connection, number, status)
            assert batch_moves.close_finished(connection, [number], NOW) == []


def test_the_database_refuses_a_batch_status_that_is_none(database: Database):
    with database.transaction() as connection:
        statement = update(batches_table).where(batches_table.c.number == new_batch(connection))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(statement.values(status="paused"))


def announced(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())
