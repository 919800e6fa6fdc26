"""Workers choose at the price that the database holds when they claim a chunk."""

from pathlib import Path

from sqlalchemy import update

from shared.clock import utc_now
from shared.db.repositories import batch_plans
from shared.db.tables import batches
from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer


def test_a_chunk_is_routed_at_the_price_of_its_batch(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    prompts = [asking(f"Prove that {i} is not a perfect number.") for i in range(1, 5)]
    first: list[str] = []
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        for price in (0.0, 10_000_000.0):
            ids = mill.batch(prompts, max_cost_nusd=10**9)
            with mill.database.transaction() as connection:
                connection.execute(
                    update(batches)
                    .where(batches.c.number == mill.number)
                    .values(optimise="quality")
                )
                batch_plans.add(connection, mill.number, {}, utc_now())
                batch_plans.set_allotment(connection, mill.number, {}, price)
            mill.worker.runner.run(ids)
            own = [row for row in mill.attempts() if row.job_id in ids and row.ordinal == 1]
            first += sorted({row.tier for row in own})
    assert first == ["high", "cheap"]
