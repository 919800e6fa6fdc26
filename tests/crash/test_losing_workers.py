"""Workers that hang, come back, are stopped, go deaf, or are killed by what they work on."""

import os
import signal
import time

import pytest

from producer.local.processes import ChildProcess
from shared.domain.batch import Priority
from shared.queue.celery_app import make_celery_app
from shared.queue.lanes import BATCH_QUEUES
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from tests.crash.invariants import check
from tests.crash.plant import ON_BOTH, Plant, on_databases, questions, resume
from tests.mill import asking

JOBS = 40
PLENTY_NUSD = 10**10

AGAIN = {"after_intent": 0, "after_confirm": 1, "after_answer": 1}
"""Where a worker hangs, and how many jobs the provider then answers twice."""


@pytest.mark.parametrize(
    ("point", "database_url"),
    on_databases(list(AGAIN), first="postgres"),
    indirect=["database_url"],
)
def test_a_worker_that_comes_back_too_late_writes_nothing(plant: Plant, point: str) -> None:
    zombie = plant.start_worker(
        "zombie", threads=1, fault=f"{point}:3:stop", max_in_flight=1, lease_s=6
    )
    healthy = plant.start_worker("healthy", threads=4, lease_s=30)
    plant.start_maintenance()
    plant.wait_until_ready(zombie, healthy)
    plant.stop_between_writes(healthy)
    number = plant.submit(questions(JOBS))
    plant.wait_for(lambda: "fault point" in zombie.log_tail(), "the worker hangs")
    if plant.is_locked():
        pytest.skip("its heart was just writing: all wait for it then (What is not repaired)")
    resume(healthy)
    plant.wait_for_batch(number)
    before = plant.rows("SELECT * FROM results ORDER BY job_id")

    resume(zombie)
    plant.stop_between_writes(healthy)
    second = plant.submit(questions(JOBS, start=101))
    plant.wait_for_batch(second)  # by the one that came back: it is good for new work
    resume(healthy)

    figures = check(plant)
    assert plant.rows(f"SELECT * FROM results WHERE job_id >> 24 = {number} ORDER BY job_id") == (
        before
    )
    assert (figures.completed, figures.unconfirmed) == (2 * JOBS, 1)
    assert figures.calls == 2 * JOBS + AGAIN[point]


@pytest.mark.skipif(not ON_BOTH, reason="half a minute, and its parts have tests: CRASH_ON_BOTH")
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_worker_that_hangs_in_a_transaction_is_cut_off_from_what_it_locked(plant: Plant) -> None:
    zombie = plant.start_worker(
        "zombie",
        threads=1,
        app="tests.servers.impatient",  # that is, the database is with its connections
        fault="before_recording_commit:3:stop",
        max_in_flight=1,
        lease_s=8,
    )
    plant.start_maintenance()
    plant.wait_until_ready(zombie)
    number = plant.submit(questions(JOBS))
    plant.wait_for(lambda: "fault point" in zombie.log_tail(), "the worker hangs")
    plant.start_worker("healthy", threads=4, lease_s=30)
    plant.wait_for_batch(number)  # while the other one still hangs
    resume(zombie)
    second = plant.submit(questions(JOBS, start=101))
    plant.wait_for_batch(second)

    assert zombie.is_alive
    figures = check(plant)
    assert (figures.completed, figures.unconfirmed, figures.calls) == (2 * JOBS, 1, 2 * JOBS + 1)


def test_one_chunk_in_many_messages_is_answered_once(plant: Plant) -> None:
    plant.simulator.set_scenario({"latency_ms": 100})
    workers = [plant.start_worker(name, threads=4, lease_s=30) for name in ("one", "two")]
    plant.wait_until_ready(*workers)
    number = plant.submit(questions(JOBS))
    app = make_celery_app(plant.settings)
    chunk = ChunkMessage(plant.batch(number).id, number, f"1-{JOBS}")
    Publisher(app).publish([chunk] * 8, "acme", Priority.BATCH)
    app.close()

    plant.wait_for_batch(number)

    figures = check(plant)
    assert (figures.calls, figures.completed, figures.unconfirmed) == (JOBS, JOBS, 0)


def test_a_stopped_worker_finishes_its_calls_and_hands_back_the_rest(plant: Plant) -> None:
    plant.simulator.set_scenario({"latency_ms": 1500})
    leaving = plant.start_worker("leaving", threads=4, max_in_flight=4, lease_s=30)
    plant.start_maintenance()
    plant.wait_until_ready(leaving)
    number = plant.submit(questions(JOBS))
    plant.wait_for(lambda: _open_attempts(plant) == 4, "its calls are in flight")

    leaving.ask_to_stop()

    assert plant.wait_for_end_of(leaving) == 0
    assert _open_attempts(plant) == 0
    statuses = plant.statuses(number)
    assert statuses["completed"] == plant.simulator.bill()["calls"] >= 4
    assert statuses == {"completed": statuses["completed"], "queued": JOBS - statuses["completed"]}

    plant.simulator.set_scenario({"latency_ms": 0})
    plant.start_worker("next", lease_s=30)
    plant.wait_for_batch(number)
    figures = check(plant)
    assert (figures.calls, figures.completed, figures.unconfirmed) == (JOBS, JOBS, 0)


def test_a_stopped_worker_does_not_wait_for_a_call_that_hangs(plant: Plant) -> None:
    plant.simulator.set_scenario({"rules": [{"fault": "hang", "billed": True, "times": 2}]})
    leaving = plant.start_worker("leaving", threads=1, max_in_flight=2, lease_s=2, grace_s=2)
    plant.start_maintenance()
    plant.wait_until_ready(leaving)
    number = plant.submit(questions(10))
    plant.wait_for(lambda: plant.simulator.bill()["calls"] == 2, "two calls hang")

    leaving.ask_to_stop()
    assert plant.wait_for_end_of(leaving) == 0

    plant.start_worker("next", lease_s=30)
    plant.wait_for_batch(number)
    figures = check(plant)
    assert (figures.completed, figures.lost, figures.calls) == (10, 2, 12)


def test_a_job_that_kills_its_workers_is_set_aside_and_no_other(plant: Plant) -> None:
    plant.simulator.set_scenario({"latency_ms": 50})
    requests = questions(JOBS)
    requests[17] = asking("This one is deadly.", model="tiny", max_tokens=40)
    plant.start_maintenance(max_deaths=3)
    number = plant.submit(requests)
    deaths = 0
    while not plant.has_ended(number):
        worker = plant.start_worker(
            f"mortal{deaths}", app="tests.servers.mortal_worker", lease_s=2, max_deaths=3
        )
        plant.wait_for(
            lambda w=worker: not w.is_alive or plant.has_ended(number),  # type: ignore[misc]
            "it dies or the batch ends",
        )
        deaths += not worker.is_alive
        assert deaths <= 3

    assert plant.statuses(number) == {"completed": JOBS - 1, "failed": 1}
    (poisoned,) = plant.rows("SELECT job_id, error FROM results WHERE status = 'failed'")
    assert poisoned.job_id & 0xFFFFFF == 18
    assert "poison" in str(poisoned.error)
    assert deaths == 3
    assert check(plant).completed == JOBS - 1


@pytest.mark.skipif(not ON_BOTH, reason="a minute, and one killer has a test: CRASH_ON_BOTH")
def test_two_jobs_that_kill_their_workers_are_found_among_hundreds(plant: Plant) -> None:
    plant.simulator.set_scenario({"latency_ms": 1000})
    requests = questions(500)
    for line in (18, 301):
        requests[line - 1] = asking(f"{line} is deadly.", model="tiny", max_tokens=40)
    plant.start_maintenance(max_deaths=3)
    number = plant.submit(requests, max_cost_nusd=PLENTY_NUSD, limit_nusd=PLENTY_NUSD)
    workers: list[ChildProcess] = []
    while not plant.has_ended(number):
        if sum(worker.is_alive for worker in workers) < 2:
            name = f"mortal{len(workers)}"
            app = "tests.servers.mortal_worker"
            workers.append(plant.start_worker(name, threads=32, app=app, lease_s=2, max_deaths=3))
        time.sleep(0.1)

    assert plant.statuses(number) == {"completed": 498, "failed": 2}
    poisoned = plant.rows("SELECT job_id, error FROM results WHERE status = 'failed'")
    assert {row.job_id & 0xFFFFFF for row in poisoned} == {18, 301}
    assert all("poison" in str(row.error) for row in poisoned)
    assert sum(not worker.is_alive for worker in workers) <= 2 * 3
    assert check(plant).completed == 498


@pytest.mark.skipif(not ON_BOTH, reason="a minute, and its parts have tests: CRASH_ON_BOTH")
def test_a_mill_that_was_killed_four_times_as_a_whole_goes_on_with_all_its_places(
    plant: Plant,
) -> None:
    plant.simulator.set_scenario({"latency_ms": 3000})
    money = {"max_cost_nusd": PLENTY_NUSD, "limit_nusd": PLENTY_NUSD}
    number = plant.submit(questions(2000), **money)
    for life in range(5):
        if life:
            plant.pass_the_leadership_on()
        mill = [
            plant.start_worker(f"worker{life}-{n}", threads=64, lease_s=3, max_deaths=3)
            for n in range(2)
        ]
        mill.append(plant.start_maintenance(f"maintenance{life}", max_deaths=3))
        plant.wait_for(
            lambda life=life: _many_in_flight(plant, min(life, 1)),  # type: ignore[misc]
            "jobs that saw a crash are in flight together",
        )
        if life < 4:
            for child in mill:
                os.kill(child.pid, signal.SIGKILL)
            for child in mill:
                plant.wait_for_end_of(child)
    plant.wait_for_batch(number)

    figures = check(plant)
    assert figures.completed == 2000
    assert figures.calls <= 2000 + figures.unconfirmed


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_consumes_nothing_is_replaced(
    plant_on_own_redis: Plant,
) -> None:
    plant = plant_on_own_redis
    deaf = plant.start_worker("deaf", app="tests.servers.hasty", lease_s=30)
    plant.start_maintenance()
    plant.wait_until_ready(deaf)
    app = make_celery_app(plant.settings)
    for queue in BATCH_QUEUES:
        app.control.cancel_consumer(queue, destination=["deaf@crash"], reply=True, timeout=10)
    app.close()

    number = plant.submit(questions(10))

    assert plant.wait_for_end_of(deaf) == 69
    assert plant.count(number, "queued") == 10
    plant.start_worker("next", lease_s=30)
    plant.wait_for_batch(number)
    assert check(plant).calls == 10


def test_the_whole_cluster_is_killed_and_started_again(plant: Plant) -> None:
    plant.simulator.set_scenario({"latency_ms": 200})
    number = plant.submit(questions(JOBS))
    first = [plant.start_worker(f"first{n}", lease_s=2) for n in range(2)]
    first.append(plant.start_maintenance("first"))
    plant.wait_for(lambda: plant.count(number, "completed") >= 5, "work is under way")
    for child in first:
        os.kill(child.pid, signal.SIGKILL)
    for child in first:
        plant.wait_for_end_of(child)

    plant.pass_the_leadership_on()
    plant.start_maintenance("second")
    plant.start_worker("second0", lease_s=30)
    plant.wait_for_batch(number)

    figures = check(plant)
    assert figures.completed == JOBS
    assert figures.calls <= JOBS + figures.unconfirmed


def _open_attempts(plant: Plant) -> int:
    return len(plant.rows("SELECT id FROM attempts WHERE status = 'open'"))


def _many_in_flight(plant: Plant, deaths: int) -> bool:
    """Whether hundreds of jobs that saw so many deaths have a call under way at once."""
    counting = (
        "SELECT count(DISTINCT jobs.id) AS jobs FROM jobs JOIN attempts ON job_id = jobs.id "
        "WHERE jobs.status = 'running' AND attempts.status = 'open' AND deaths >= :deaths"
    )
    (found,) = plant.rows(counting, deaths=deaths)
    return int(found.jobs) > 300
