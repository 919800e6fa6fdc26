"""Redis loses everything, dies, hangs, or is full, while a batch is under way."""

import os
import shutil
import signal

import pytest

from tests.crash.invariants import Figures, check
from tests.crash.plant import Plant, on_databases, on_one_database, questions
from tests.servers.valkey import ValkeyServer

JOBS = 150


def begin(plant: Plant, app: str = "") -> int:
    """A batch of which a part is done and more is in flight."""
    plant.simulator.set_scenario({"latency_ms": 150})
    workers = [
        plant.start_worker(name, app=app, max_in_flight=8, lease_s=30) for name in ("one", "two")
    ]
    plant.start_maintenance(module=app)
    plant.wait_until_ready(*workers)
    number = plant.submit(questions(JOBS))
    plant.wait_for(lambda: plant.count(number, "completed") >= 20, "work is under way")
    assert not plant.has_ended(number)
    return number


def finish(plant: Plant, number: int) -> Figures:
    """Nobody helps: the batch ends by itself, with the same processes."""
    plant.simulator.set_scenario({"latency_ms": 0})
    plant.wait_for_batch(number)
    plant.all_must_live()
    figures = check(plant)
    assert (figures.completed, figures.unconfirmed, figures.calls) == (JOBS, 0, JOBS)
    return figures


@pytest.mark.parametrize("times", [1, 3])
def test_everything_in_redis_may_be_flushed(plant: Plant, times: int) -> None:
    number = begin(plant)
    for _ in range(times):
        before = plant.count(number, "completed")
        plant.redis.flushall()
        assert plant.ledger.epoch() is None or times > 1
        plant.wait_for(
            lambda b=before: plant.count(number, "completed") > b,  # type: ignore[misc]
            "work goes on",
        )
    finish(plant, number)


@pytest.mark.parametrize(
    ("kept", "database_url"), on_databases(["with its file", "empty"]), indirect=["database_url"]
)
def test_redis_may_be_killed_and_started_again(
    plant_on_own_redis: Plant, own_redis: ValkeyServer, kept: str
) -> None:
    number = begin(plant_on_own_redis)
    own_redis.kill()
    if kept == "empty":
        shutil.rmtree(own_redis.folder / "data")
    own_redis.start()
    finish(plant_on_own_redis, number)


@pytest.mark.parametrize("database_url", on_one_database("postgres"), indirect=True)
def test_redis_may_hang(plant_on_own_redis: Plant, own_redis: ValkeyServer) -> None:
    plant = plant_on_own_redis
    number = begin(plant, app="tests.servers.hasty")
    os.kill(own_redis.pid, signal.SIGSTOP)
    # Whatever asks first: a worker, its consumer, or a repairer.
    plant.wait_for(lambda: _said(plant, "does not answer", "TimeoutError"), "somebody notices")
    assert plant.count(number, "completed") < JOBS
    os.kill(own_redis.pid, signal.SIGCONT)
    finish(plant, number)


@pytest.mark.parametrize("database_url", on_one_database("sqlite"), indirect=True)
def test_redis_may_be_full(plant_on_own_redis: Plant) -> None:
    plant = plant_on_own_redis
    number = begin(plant)
    plant.redis.config_set("maxmemory", "1mb")
    plant.wait_for(lambda: _said(plant, "does not answer", "maxmemory"), "somebody notices")
    plant.redis.config_set("maxmemory", "0")
    finish(plant, number)


def _said(plant: Plant, *words: str) -> bool:
    logs = [child.log.read_text() for child in plant.children if child.log is not None]
    return any(word in log for word in words for log in logs)
