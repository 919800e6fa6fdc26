"""Ten projects of very different size on one worker: the small ones' waiting time is bounded.

It is counted in others' jobs that ended between a batch's submission and its end, so it does not
depend on how fast the machine is.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.db.repositories import batch_moves
from shared.domain.batch import Priority
from shared.errors import ConflictError
from shared.queue.lanes import lane_queue
from tests.crash.invariants import check
from tests.crash.plant import Plant, questions
from tests.servers.simulator import SimulatorServer
from worker.maintenance.job_stager import PROJECT_WINDOW

CHUNK = 1
IN_FLIGHT = 16
CROWDS = {"whale": 1200, "tuna": 200, "shark": 100, "cod": 80, "shrimp": 80}
SMALL = {"sprat": 20, "krill": 10, "plankton": 5, "copepod": 5, "orca": 5}
"""Whale, shark and orca share a lane, as do tuna and sprat, cod and plankton, shrimp and copepod;
krill has one of its own."""

# Lanes are served in turn, so while the orcas' lane gives out what it held before them, the other
# four give out as much.
AHEAD_IN_ONE_LANE = 2 * PROJECT_WINDOW * CHUNK
BOUND = 5 * AHEAD_IN_ONE_LANE + 2 * IN_FLIGHT + sum(SMALL.values())


@pytest.fixture
def plant(
    tmp_path: Path, postgres_url: str, redis_url: str, simulator: SimulatorServer
) -> Iterator[Plant]:
    plant = Plant(tmp_path, postgres_url, redis_url, simulator, chunk_size=CHUNK)
    yield plant
    plant.close()


def ended(plant: Plant) -> int:
    (row,) = plant.rows("SELECT count(*) AS jobs FROM results")
    return int(row.jobs)


def ended_before(plant: Plant, number: int) -> int:
    """Jobs of others that ended before this batch's last one."""
    (row,) = plant.rows(
        "SELECT count(*) AS jobs FROM results WHERE job_id >> 24 <> :number AND ended_at <="
        " (SELECT max(ended_at) FROM results WHERE job_id >> 24 = :number)",
        number=number,
    )
    return int(row.jobs)


def submit(plant: Plant, projects: dict[str, int]) -> dict[str, int]:
    return {
        project: plant.submit(questions(jobs, start=1 + 10_000 * place), project)
        for place, (project, jobs) in enumerate(projects.items())
    }


def test_small_projects_wait_for_no_more_than_what_was_out_before_them(plant: Plant):
    lanes = {name: lane_queue(name, Priority.BATCH) for name in [*CROWDS, *SMALL]}
    assert len(set(lanes.values())) == 5, "five lanes"
    assert lanes["whale"] == lanes["shark"] == lanes["orca"]
    plant.simulator.set_scenario({"latency_ms": 20})
    crowds = submit(plant, CROWDS)
    worker = plant.start_worker("one", threads=4, max_in_flight=IN_FLIGHT)
    plant.start_maintenance()
    plant.wait_until_ready(worker)
    plant.wait_for(lambda: plant.count(crowds["whale"], "completed") > 20, "the crowds run")

    before = ended(plant)
    small = submit(plant, SMALL)
    for number in small.values():
        plant.wait_for_batch(number)
    waited = {name: ended_before(plant, number) - before for name, number in small.items()}
    assert max(waited.values()) <= BOUND, waited
    assert plant.count(crowds["whale"], "queued") > 0, "the crowd is still there"

    for number in crowds.values():
        with suppress(ConflictError), plant.database.transaction() as connection:
            batch_moves.cancel(connection, number, utc_now())
    for number in crowds.values():
        plant.wait_for_batch(number)
    check(plant)
