"""PostgreSQL hangs or is restarted, for longer than a lease, while a batch is under way."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from tests.crash.invariants import check
from tests.crash.plant import Plant, questions
from tests.servers.postgres import PostgresServer
from tests.servers.simulator import SimulatorServer

JOBS = 120
LEASE_S = 2.0
OUTAGE_S = 3 * LEASE_S


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


@pytest.mark.parametrize("how", ["hangs", "restarts"])
def test_work_pauses_and_no_paid_answer_is_thrown_away(
    plant: Plant, own_postgres: PostgresServer, how: str
) -> None:
    plant.simulator.set_scenario({"latency_ms": 300})
    workers = [plant.start_worker(name, max_in_flight=8, lease_s=LEASE_S) for name in ("a", "b")]
    plant.start_maintenance(lease_s=LEASE_S)
    plant.wait_until_ready(*workers)
    number = plant.submit(questions(JOBS))
    plant.wait_for(lambda: plant.count(number, "completed") >= 20, "work is under way")

    if how == "hangs":
        own_postgres.suspend()
        time.sleep(OUTAGE_S)  # the outage itself; nothing is waited for
        own_postgres.resume()
    else:
        own_postgres.kill()
        time.sleep(OUTAGE_S)
        own_postgres.start()

    plant.simulator.set_scenario({"latency_ms": 0})
    plant.wait_for_batch(number)
    plant.all_must_live()
    figures = check(plant)
    assert (figures.completed, figures.lost, figures.calls) == (JOBS, 0, JOBS)
