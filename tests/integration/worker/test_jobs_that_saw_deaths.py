"""Jobs whose workers died run as fast as any other; one that raises is blamed for it."""

from pathlib import Path

from sqlalchemy import update

from shared.db.tables import jobs
from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer

JOBS = 60


def test_jobs_that_lived_through_crashes_are_in_flight_together(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"latency_ms": 700})
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        ids = mill.batch([asking(f"What is {n} + 1?", model="tiny") for n in range(JOBS)])
        with mill.database.transaction() as connection:
            connection.execute(update(jobs).values(deaths=4))

        assert mill.worker.runner.run(ids) == JOBS

        assert mill.statuses() == {"completed": JOBS}
        calls = mill.attempts()
        assert len(calls) == JOBS
        assert max(call.started_at for call in calls) < min(call.ended_at for call in calls)


def test_a_job_that_raises_is_blamed_for_it(
    tmp_path: Path, sqlite_url: str, redis_url: str, simulator: SimulatorServer
) -> None:
    with running_mill(tmp_path, sqlite_url, redis_url, simulator) as mill:
        (job_id,) = mill.batch([asking("Whatever it is", model="tiny")])
        with mill.database.transaction() as connection:
            connection.execute(update(jobs).values(request='{"not": "a request"}'))

        assert mill.worker.runner.run([job_id]) == 1

        (job,) = mill.rows(jobs)
        assert (job.status, job.deaths, job.blamed) == ("running", 0, 1)  # its lease lapses
