"""Jobs of dead workers go back, what these may have bought is charged, poison is set aside."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
import redis

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.db.repositories import job_claims
from shared.domain.job import job_id_of
from shared.ids import claim_token, claimant_id, claimant_of
from tests.integration.repair.mill import LEASE, NOW, Mill
from worker.leases import Leases
from worker.maintenance.job_rescuer import JobRescuer
from worker.maintenance.uptime import Uptime
from worker.work_marks import LeftMarks, Mark, WorkMarks

LATER = NOW + LEASE + timedelta(seconds=1)


@contextmanager
def working_on(client: redis.Redis, number: int, line: int, token: str) -> Iterator[None]:
    """The claim's process is, and will be for ever, in the middle of a step of this job."""
    marks = WorkMarks(client, claimant_of(token))
    step = marks.around(Mark(job_id_of(number, line), token), asyncio.sleep(0))
    with patch.object(marks, "_remove"):
        asyncio.run(step)
    yield


@pytest.fixture
def rescuer(database: Database, ledger: Ledger, marks: LeftMarks) -> JobRescuer:
    return JobRescuer(database, ledger, marks, max_deaths=3)


def test_a_job_whose_lease_is_over_goes_back_to_the_queue(mill: Mill, rescuer: JobRescuer):
    number = mill.batch(2)
    mill.claim(number, 1, 2)
    assert rescuer.run_once(NOW) == 0
    assert rescuer.run_once(LATER) == 2
    assert mill.statuses(number) == {"queued": 2}
    assert mill.job(number, 1).deaths == 1


def test_a_renewed_lease_is_left_alone(mill: Mill, rescuer: JobRescuer, database: Database):
    number = mill.batch(1)
    token = mill.claim(number, 1)
    with database.transaction() as connection:
        assert job_claims.renew(connection, [token], LATER + LEASE) == 1
    assert rescuer.run_once(LATER) == 0


def test_a_call_that_may_have_been_made_is_charged_at_its_reservation(
    mill: Mill, rescuer: JobRescuer
):
    number = mill.batch(1, max_cost_nusd=1000)
    day, month, total, cap = mill.open_scopes(number)
    mill.claim(number, 1)
    intent = mill.intent(number, 1, 700)
    mill.reserve(intent, number)
    mill.write_intent(intent)
    assert mill.balance(cap) == (0, 700)
    rescuer.run_once(LATER)
    assert [mill.balance(scope) for scope in (day, month, total, cap)] == [(700, 0)] * 4
    row = mill.row(number)
    assert (row.cost_nusd, row.unconfirmed_nusd) == (700, 700)


def test_a_zombie_cannot_finish_what_was_rescued(mill: Mill, rescuer: JobRescuer):
    number = mill.batch(1)
    zombie = mill.claim(number, 1)
    rescuer.run_once(LATER)
    mill.claim(number, 1, now=LATER)
    mill.finish(number, zombie, 1)
    assert mill.statuses(number) == {"running": 1}
    assert mill.result(number, 1) is None


def test_a_job_that_kills_its_workers_is_set_aside_with_what_it_cost(
    mill: Mill, rescuer: JobRescuer, redis_client: redis.Redis
):
    number = mill.batch(1)
    mill.open_scopes(number)
    now = NOW
    for _ in range(3):
        token = mill.claim(number, 1, now=now)
        mill.write_intent(mill.intent(number, 1, 100, now))
        now += LEASE + timedelta(seconds=1)
        with working_on(redis_client, number, 1, token):
            assert rescuer.run_once(now) == 1
    result = mill.result(number, 1)
    assert (result.status, result.error["code"]) == ("failed", "poison")
    assert "3 times" in result.error["message"]
    assert (result.attempts, result.cost_nusd) == (3, 300)
    row = mill.row(number)
    assert (row.status, row.failed, row.cost_nusd) == ("completed", 1, 300)
    assert mill.events() == ["batch.completed"]


def test_of_a_dead_workers_jobs_the_one_in_hand_is_blamed_and_all_others_are_cleared(
    mill: Mill, rescuer: JobRescuer, redis_client: redis.Redis
):
    number = mill.batch(4)
    claimant = claimant_id()
    tokens = [mill.claim(number, *lines, by=claimant) for lines in ((1, 2), (3,))]
    elsewhere = mill.claim(number, 4)
    with working_on(redis_client, number, 2, tokens[0]):
        assert rescuer.run_once(LATER) == 4
    counts = [(job.deaths, job.blamed) for job in mill.jobs(number)]
    assert counts == [(0, 0), (1, 1), (0, 0), (1, 0)]
    assert claimant_of(elsewhere) != claimant


def test_a_mark_of_a_former_claim_blames_nobody(
    mill: Mill, rescuer: JobRescuer, redis_client: redis.Redis
):
    number = mill.batch(1)
    claimant = claimant_id()
    mill.claim(number, 1, by=claimant)
    with working_on(redis_client, number, 1, claim_token(claimant)):
        assert rescuer.run_once(LATER) == 1
    assert (mill.job(number, 1).deaths, mill.job(number, 1).blamed) == (0, 0)


def test_crashes_of_whole_machines_set_nothing_aside(mill: Mill, rescuer: JobRescuer):
    number = mill.batch(2)
    now = NOW
    for _ in range(7):
        mill.claim(number, 1, 2, now=now)
        now += LEASE + timedelta(seconds=1)
        assert rescuer.run_once(now) == 2
    assert mill.statuses(number) == {"queued": 2}
    assert {(job.deaths, job.blamed) for job in mill.jobs(number)} == {(7, 0)}


def test_a_job_that_leaves_no_mark_is_found_out_all_the_same(mill: Mill, rescuer: JobRescuer):
    number = mill.batch(1)
    now, deaths = NOW, 0
    while mill.statuses(number) == {"queued": 1}:
        mill.claim(number, 1, now=now)
        now += LEASE + timedelta(seconds=1)
        deaths += rescuer.run_once(now)
    assert (mill.result(number, 1).error["code"], deaths) == ("poison", 10)


def test_a_dead_redis_does_not_stop_a_rescue(
    mill: Mill, database: Database, dead_ledger: Ledger, dead_marks: LeftMarks
):
    number = mill.batch(1)
    mill.claim(number, 1)
    mill.write_intent(mill.intent(number, 1, 50))
    rescuer = JobRescuer(database, dead_ledger, dead_marks, max_deaths=3)
    assert rescuer.run_once(LATER) == 1
    assert mill.statuses(number) == {"queued": 1}
    assert (mill.job(number, 1).deaths, mill.job(number, 1).blamed) == (1, 0)
    assert mill.row(number).unconfirmed_nusd == 50


def test_two_rescuers_rescue_each_job_once(
    mill: Mill, database: Database, ledger: Ledger, marks: LeftMarks
):
    number = mill.batch(200)
    mill.claim(number, *range(1, 201))
    rescued: list[int] = []
    barrier = threading.Barrier(2)

    def rescue() -> None:
        barrier.wait()
        rescued.append(JobRescuer(database, ledger, marks, max_deaths=3).run_once(LATER))

    threads = [threading.Thread(target=rescue) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(rescued) == 200
    assert {mill.job(number, line).deaths for line in (1, 100, 200)} == {1}
    assert mill.job(number, 1).id == job_id_of(number, 1)


def test_after_an_outage_the_living_have_a_lease_to_show_up_and_the_dead_lose_their_jobs_then(
    mill: Mill, database: Database, ledger: Ledger, marks: LeftMarks
):
    uptime = Uptime(longest_gap=LEASE / 2)
    late = JobRescuer(database, ledger, marks, max_deaths=3, uptime=uptime)  # leads since just now
    number = mill.batch(2)
    living, _dead = mill.claim(number, 1), mill.claim(number, 2)
    uptime.answered(NOW)
    end = NOW + LEASE * 2  # of the outage, which began now
    assert late.run_once(end) == 0, "it was not answered for long"
    uptime.answered(end)
    assert late.run_once(end) == 0, "it is answered again: both leases are over by now"
    for beat in range(1, 7):
        now = end + LEASE * beat / 6
        with database.transaction() as connection:
            job_claims.renew(connection, [living], now + LEASE)
        assert late.run_once(now - timedelta(milliseconds=1)) == 0
        uptime.answered(now)
    assert late.run_once(end + LEASE) == 1
    assert [job.deaths for job in mill.jobs(number)] == [0, 1]


def test_who_has_just_begun_to_watch_takes_nothing_before_a_lease_is_over(
    mill: Mill, database: Database, ledger: Ledger, marks: LeftMarks
):
    uptime = Uptime(longest_gap=LEASE / 2)
    beginner = JobRescuer(database, ledger, marks, max_deaths=3, uptime=uptime)
    number = mill.batch(1)
    mill.claim(number, 1)
    assert beginner.run_once(LATER) == 0, "it was never answered"
    for sixth in range(6):
        uptime.answered(LATER + LEASE * sixth / 6)
        assert beginner.run_once(LATER + LEASE * sixth / 6) == 0
    assert beginner.run_once(LATER + LEASE) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_renewal_that_waited_for_the_lock_is_good_for_a_whole_lease(
    mill: Mill, database: Database
):
    now, asked = NOW, threading.Event()

    def clock() -> datetime:
        asked.set()
        return now

    leases = Leases(database, LEASE.total_seconds(), clock)
    number = mill.batch(1)
    leases.begin(mill.claim(number, 1))
    now += LEASE / 2
    heart = threading.Thread(target=leases.renew)
    with database.transaction():
        asked.clear()
        heart.start()
        assert asked.wait(10)
        now += LEASE
    heart.join()
    assert mill.job(number, 1).lease_until == now + LEASE
