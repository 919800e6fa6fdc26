"""An API key's spend limit holds to the nano-dollar: many calls at once, lost counters, a raise."""

import threading
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import update

from producer.accounts.purse import Budget
from shared.budget.ledger import Ledger
from shared.clock import utc_now
from shared.db.repositories import budgets, projects, retention
from shared.db.repositories.projects import NewKey
from shared.db.tables import batches, jobs
from shared.domain.job import JobStatus
from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer
from worker.maintenance.hold_releaser import HoldReleaser


@pytest.fixture
def mill(tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer) -> Any:
    with running_mill(tmp_path, database_url, redis_url, simulator) as running:
        yield running


def limited_batch(mill: Any, lines: int, limit_nusd: int, key_id: str | None = None):
    """A batch of a key with a spend limit: the key, and the jobs' ids."""
    requests = [asking(f"What is {i} + {i}?", model="tiny", max_tokens=40) for i in range(lines)]
    ids = mill.batch(requests)
    with mill.database.transaction() as connection:
        if key_id is None:
            new = NewKey("acme", "limited", ["submit"], spend_limit_nusd=limit_nusd)
            key_id = projects.create_key(connection, new, utc_now())[0].id
        number = ids[0] >> 24
        connection.execute(update(batches).where(batches.c.number == number).values(key_id=key_id))
    return key_id, ids


def one_costs(mill: Any, simulator: SimulatorServer) -> int:
    """What one such job costs."""
    ids = mill.batch([asking("What is 1 + 1?", model="tiny", max_tokens=40)])
    mill.worker.runner.run(ids)
    return int(simulator.bill()["total_nusd"])


def held(mill: Any) -> list[Any]:
    return [row for row in mill.rows(jobs) if row.status == JobStatus.HELD]


def run_at_once(mill: Any, ids: list[int], threads: int) -> None:
    parts = [ids[i::threads] for i in range(threads)]
    running = [threading.Thread(target=mill.worker.runner.run, args=(part,)) for part in parts]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_a_key_never_spends_more_than_its_limit_and_goes_on_when_it_is_raised(
    mill: Any, simulator: SimulatorServer, redis_client: "Redis"
):
    before = one_costs(mill, simulator)
    limit = before * 12
    key, ids = limited_batch(mill, 40, limit)
    run_at_once(mill, ids, 4)
    spent = simulator.bill()["total_nusd"] - before
    waiting = held(mill)
    assert 0 < spent <= limit
    assert waiting
    assert {row.held_scope for row in waiting} == {f"key:{key}"}

    redis_client.flushall()  # the counters are lost; the database remembers what the key spent
    _, more = limited_batch(mill, 20, limit, key)
    run_at_once(mill, more, 4)
    assert simulator.bill()["total_nusd"] - before <= limit

    ledger = Ledger(redis_client)
    releaser = HoldReleaser(mill.database, ledger)
    budget = Budget(mill.database, ledger, clock=utc_now)
    assert budget.set_key_limit("acme", key, before * 1000).spend_limit_nusd == before * 1000
    while released := releaser.run_once(utc_now()):
        assert released
        queued = [row.id for row in mill.rows(jobs) if row.status == JobStatus.QUEUED]
        for number in {job >> 24 for job in queued}:
            mill.worker.runner.run([job for job in queued if job >> 24 == number])
    assert mill.statuses() == {"completed": 61}


def test_a_deleted_batch_stays_spent_on_its_key(mill: Any, simulator: SimulatorServer):
    key, ids = limited_batch(mill, 3, 10**12)
    mill.worker.runner.run(ids)
    with mill.database.transaction() as connection:
        spent = budgets.key_purse(connection, key).spent_nusd
        assert spent == simulator.bill()["total_nusd"] > 0
        retention.delete_jobs(connection, ids[0] >> 24, 10)
        retention.delete_batch(connection, ids[0] >> 24)
        assert budgets.key_purse(connection, key).spent_nusd == spent


def test_a_job_beyond_its_keys_whole_limit_fails_with_the_figures(mill: Any):
    key, ids = limited_batch(mill, 1, 1)
    mill.worker.runner.run(ids)
    (result,) = mill.results()
    assert result.error["scope"] == f"key:{key}"
    assert result.error["limit_nusd"] == 1
