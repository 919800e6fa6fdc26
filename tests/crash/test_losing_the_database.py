"""The database hangs, is restarted or locked for longer than a lease while a batch is under way."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import migrations
from producer.local.processes import ChildProcess
from tests.crash.invariants import check
from tests.crash.plant import Plant, questions, resume, stop
from tests.servers.postgres import PostgresServer
from tests.servers.simulator import SimulatorServer

JOBS = 120
LEASE_S = 2.0
OUTAGE_S = 2 * LEASE_S
SCENARIO = {
    "latency_ms": 300,
    "rules": [{"fault": "slow", "latency_ms": OUTAGE_S * 1000 + 2000, "times": 4}],
}
"""Some calls are under way before the outage and after it, others end in it."""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    # Commits are kept when it is killed, as any server in earnest keeps them.
    server = PostgresServer({"listen_addresses": "", "max_connections": "100", "fsync": "off"})
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def plant(
    tmp_path: Path, own_postgres: PostgresServer, redis_url: str, simulator: SimulatorServer
) -> Iterator[Plant]:
    url = own_postgres.url(own_postgres.create_database())
    migrations.upgrade(url)
    plant = Plant(tmp_path, url, redis_url, simulator)
    yield plant
    plant.close()


@pytest.fixture
def plant_on_sqlite(
    tmp_path: Path, sqlite_url: str, redis_url: str, simulator: SimulatorServer
) -> Iterator[Plant]:
    plant = Plant(tmp_path, sqlite_url, redis_url, simulator)
    yield plant
    plant.close()


@pytest.mark.parametrize("how", ["hangs", "restarts"])
def test_work_pauses_and_no_paid_answer_is_thrown_away(
    plant: Plant, own_postgres: PostgresServer, how: str
) -> None:
    if how == "hangs":
        number, leader = begin_behind_the_leaders_back(plant)
        own_postgres.suspend()
        resume(leader)  # it looks for work from now on
        time.sleep(OUTAGE_S)  # the outage itself; nothing is waited for
        own_postgres.resume()
    else:
        number = begin(plant)
        plant.children.pop().kill()
        plant.pass_the_leadership_on()
        own_postgres.kill()
        plant.start_maintenance("heir", lease_s=LEASE_S)
        time.sleep(OUTAGE_S)
        own_postgres.start()
    finish(plant, number)


def test_a_writer_that_keeps_the_one_lock_for_long_delays_all_and_costs_nothing(
    plant_on_sqlite: Plant,
) -> None:
    plant = plant_on_sqlite
    number = begin(plant, app="tests.servers.impatient")  # with the lock, after a second
    with closing(sqlite3.connect(plant.database.engine.url.database or "", timeout=60)) as writer:
        writer.isolation_level = None
        writer.execute("BEGIN EXCLUSIVE")
        time.sleep(OUTAGE_S)
        writer.rollback()
    logs = [child.log.read_text() for child in plant.children if child.log is not None]
    assert any("database is locked" in log for log in logs), "longer than they wait for a lock"
    finish(plant, number)


def begin(plant: Plant, *, app: str = "") -> int:
    """A batch of which a part is done and more is in flight. The leader is the last child."""
    plant.simulator.set_scenario(SCENARIO)
    workers = start_workers(plant, app)
    plant.start_maintenance(module=app, lease_s=LEASE_S)
    plant.wait_until_ready(*workers)
    return under_way(plant, plant.submit(questions(JOBS)))


def begin_behind_the_leaders_back(plant: Plant) -> tuple[int, ChildProcess]:
    """The same, but that the leader was stopped (SIGSTOP) when there was nothing to do yet."""
    plant.simulator.set_scenario(SCENARIO)
    leader = plant.start_maintenance(lease_s=LEASE_S)
    plant.wait_for(lambda: plant.rows("SELECT holder FROM leaderships"), "it leads")
    workers = start_workers(plant)  # meanwhile it sees that there is nothing to do, and rests
    plant.wait_until_ready(*workers)
    stop(leader)
    number = plant.submit(questions(JOBS))
    plant.publish(number, JOBS)
    return under_way(plant, number), leader


def start_workers(plant: Plant, app: str = "") -> list[ChildProcess]:
    return [
        plant.start_worker(name, app=app, max_in_flight=8, lease_s=LEASE_S) for name in ("a", "b")
    ]


def under_way(plant: Plant, number: int) -> int:
    plant.wait_for(lambda: plant.count(number, "completed") >= 20, "work is under way")
    return number


def finish(plant: Plant, number: int) -> None:
    """Nobody helps, and nothing was lost."""
    plant.simulator.set_scenario({"latency_ms": 0})
    plant.wait_for_batch(number)
    plant.all_must_live()
    figures = check(plant)
    assert (figures.completed, figures.lost, figures.calls) == (JOBS, 0, JOBS)
