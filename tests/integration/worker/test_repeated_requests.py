"""Requests that are asked again: answered once for a batch, and from the project's cache."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from sqlalchemy import update

from producer.reporting.report import report
from shared.db.repositories import batches
from shared.db.tables import projects
from tests.mill import Mill, asking, running_mill, text_of_result
from tests.servers.simulator import SimulatorServer

EASY = "What is the capital of France?"
HOUR = 3600


@pytest.fixture
def mill(tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer) -> Any:
    with running_mill(tmp_path, database_url, redis_url, simulator) as running:
        yield running


@pytest.fixture
def cached_mill(tmp_path: Path, sqlite_url: str, redis_url: str, simulator: SimulatorServer) -> Any:
    """The cache knows no database."""
    with running_mill(tmp_path, sqlite_url, redis_url, simulator) as running:
        yield running


def run(mill: Mill, *requests: Any, **options: Any) -> list[Any]:
    ids = mill.batch(requests, **{"cache_ttl_s": HOUR, **options})
    mill.worker.runner.run(ids)
    return [row for row in mill.results() if row.job_id in ids]


def kept(client: "redis.Redis") -> int:
    return sum(1 for _ in client.scan_iter("{promptmill}:answer:*"))


def wait_until_kept(client: "redis.Redis", count: int) -> None:
    give_up_at = time.monotonic() + 10
    while kept(client) < count:
        assert time.monotonic() < give_up_at, "no answer was kept"
        time.sleep(0.005)


# -- within a batch --------------------------------------------------------------------------------


def test_one_call_answers_all_who_ask_the_same(mill: Mill, simulator: SimulatorServer) -> None:
    others = dict.fromkeys(range(2, 41), 1)
    rows = run(mill, *[asking(EASY)] * 40, cache_ttl_s=None, duplicates=others)

    assert simulator.bill()["calls"] == 1
    assert {text_of_result(row) for row in rows} == {text_of_result(rows[0])}
    batch = mill.the_batch()
    assert (batch.status, batch.completed) == ("completed", 40)
    assert batch.cost_nusd == rows[0].cost_nusd == simulator.bill()["total_nusd"]
    assert sum(row.cost_nusd for row in rows) == batch.cost_nusd
    told = report(mill.database, batch)["deduplication"]
    assert (told["answered"], told["saved_nusd"]) == (39, 39 * batch.cost_nusd)


def test_who_waits_for_a_job_that_fails_fails_alike(mill: Mill, simulator: SimulatorServer) -> None:
    simulator.set_scenario({"rules": [{"fault": "400"}]})
    rows = run(mill, *[asking(EASY, model="tiny")] * 3, duplicates={2: 1, 3: 1})

    assert simulator.bill()["calls"] <= 1
    assert [row.status for row in rows] == ["failed"] * 3
    assert rows[2].error == rows[0].error
    assert (rows[2].cost_nusd, rows[2].saved_nusd) == (0, 0)
    assert mill.the_batch().status == "completed"


def test_duplicates_of_a_job_that_is_held_wait_with_it(mill: Mill) -> None:
    others = [asking(f"What is {i} + 1?", model="tiny", max_tokens=50) for i in range(60)]
    run(mill, *others, limits={"day": 200_000}, cache_ttl_s=None)
    same = asking(EASY, model="tiny", max_tokens=50)
    run(mill, *[same] * 3, duplicates={2: 1, 3: 1})
    with mill.database.reading() as connection:
        counts = batches.counts(connection, mill.the_batch())
    assert (counts.held, counts.queued, counts.completed) == (1, 2, 0)


# -- the project's cache ---------------------------------------------------------------------------


def test_the_same_asked_again_is_answered_from_the_cache_for_nothing(
    mill: Mill, simulator: SimulatorServer, redis_client: "redis.Redis"
) -> None:
    (first,) = run(mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    (again,) = run(mill, asking(EASY, metadata={"run": "2"}), max_cost_nusd=0)

    assert simulator.bill()["calls"] == 1
    assert (again.cached, again.attempts, again.cost_nusd) == (True, 0, 0)
    assert again.saved_nusd == first.cost_nusd > 0
    assert (again.body, again.model, again.tier) == (first.body, first.model, first.tier)
    assert (again.task_type, again.strongest_nusd) == (first.task_type, first.strongest_nusd)
    assert len(mill.attempts()) == 1
    told = report(mill.database, mill.the_batch())
    assert told["cache"]["hits"] == 1
    assert told["cache"]["saved_nusd"] == first.cost_nusd
    assert told["total_cost_nusd"] == 0


def test_another_request_is_another_answer(cached_mill: Mill, redis_client: "redis.Redis") -> None:
    others: list[dict[str, Any]] = [
        {"model": "middle"},
        {"max_tokens": 9},
        {"temperature": 0.0},
        {"extras": {"seed": 1}},
        {"response_format": {"type": "text"}},
    ]
    run(cached_mill, asking(EASY, model="tiny"))
    wait_until_kept(redis_client, 1)
    rows = run(cached_mill, *[asking(EASY, **{"model": "tiny", **other}) for other in others])
    assert [(row.cached, row.attempts) for row in rows] == [(False, 1)] * len(others)


def test_who_asks_for_variety_or_says_so_is_asked_anew(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    asked: list[tuple[dict[str, Any], bool]] = [
        ({"cache": False}, False),
        ({"temperature": 0.7}, False),
        ({"extras": {"n": 2}}, False),
        ({"temperature": 0.7, "extras": {"seed": 7}}, True),
        ({"temperature": 0.7, "cache": True, "max_tokens": 50}, True),
    ]
    requests = [asking(EASY, model="tiny", **fields) for fields, _ in asked]
    run(cached_mill, *requests)
    wait_until_kept(redis_client, 2)
    rows = run(cached_mill, *requests)
    assert [row.cached for row in rows] == [is_kept for _, is_kept in asked]


def test_a_project_that_keeps_nothing_asks_each_time(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    run(cached_mill, asking(EASY), cache_ttl_s=None)
    (again,) = run(cached_mill, asking(EASY))
    assert not again.cached
    assert not kept(redis_client)


def test_one_project_never_sees_what_another_keeps(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    run(cached_mill, asking(EASY), project="one")
    wait_until_kept(redis_client, 1)
    (row,) = run(cached_mill, asking(EASY), project="two")
    assert not row.cached


def test_another_name_of_the_cache_is_an_empty_cache(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    run(cached_mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    with cached_mill.database.transaction() as connection:
        connection.execute(update(projects).values(cache_name="another"))
    (row,) = run(cached_mill, asking(EASY))
    assert not row.cached


def test_other_wishes_of_the_project_start_anew(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    run(cached_mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    with cached_mill.database.transaction() as connection:
        connection.execute(update(projects).values(routing={"allowed_models": ["middle"]}))
    (row,) = run(cached_mill, asking(EASY))
    assert (row.cached, row.model) == (False, "middle")


def test_what_was_not_accepted_is_not_kept(cached_mill: Mill, simulator: SimulatorServer) -> None:
    faults = ("truncated", "refused", "empty", "400")
    requests = [asking(f"Tell of {fault} things.", model="tiny") for fault in faults]
    rules = [{"match": {"contains": f"of {fault} "}, "fault": fault} for fault in faults]
    simulator.set_scenario({"rules": rules})
    run(cached_mill, *requests)
    simulator.set_scenario({"rules": []})
    rows = run(cached_mill, *requests)
    assert [(row.cached, row.status) for row in rows] == [(False, "completed")] * len(faults)


def test_an_answer_expires(cached_mill: Mill, redis_client: "redis.Redis") -> None:
    run(cached_mill, asking(EASY), cache_ttl_s=HOUR)
    wait_until_kept(redis_client, 1)
    (key,) = redis_client.scan_iter("{promptmill}:answer:*")
    assert 0 < redis_client.ttl(key) <= HOUR


def test_a_redis_that_lost_everything_only_misses(
    cached_mill: Mill, redis_client: "redis.Redis", simulator: SimulatorServer
) -> None:
    run(cached_mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    redis_client.flushall()
    (row,) = run(cached_mill, asking(EASY))
    assert (row.cached, row.status) == (False, "completed")
    assert simulator.bill()["calls"] == 2


def test_something_foreign_in_the_cache_is_a_miss(
    cached_mill: Mill, redis_client: "redis.Redis"
) -> None:
    run(cached_mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    (key,) = redis_client.scan_iter("{promptmill}:answer:*")
    redis_client.set(key, orjson.dumps({"row": 5}))
    (row,) = run(cached_mill, asking(EASY))
    assert (row.cached, row.status) == (False, "completed")


def test_duplicates_of_a_remembered_answer_are_answered_too(
    cached_mill: Mill, redis_client: "redis.Redis", simulator: SimulatorServer
) -> None:
    (first,) = run(cached_mill, asking(EASY))
    wait_until_kept(redis_client, 1)
    rows = run(cached_mill, *[asking(EASY)] * 3, duplicates={2: 1, 3: 1})
    assert simulator.bill()["calls"] == 1
    assert [row.saved_nusd for row in rows] == [first.cost_nusd] * 3
    told = report(cached_mill.database, cached_mill.the_batch())
    assert (told["cache"]["hits"], told["deduplication"]["answered"]) == (1, 2)
