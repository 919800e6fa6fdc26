"""Health shared over a real Redis by several workers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis as sync_redis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from shared.errors import UnavailableError
from shared.provider_health import KEY, KeyHealth, KeyState, read_all
from worker.providers.errors import AccountRefused, RequestRefused, Throttled, Unavailable
from worker.providers.health import Available, Barred, HealthBoard

A, B = "acme:aaaaaaaa", "acme:bbbbbbbb"
DOWN = Unavailable("http_503", "down", status=503)

MakeBoard = Callable[[], HealthBoard]


@pytest.fixture
async def board(redis: Redis) -> AsyncIterator[MakeBoard]:
    made: list[HealthBoard] = []

    def make() -> HealthBoard:
        made.append(HealthBoard(redis, refresh_s=0.0))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def open_circuit(board: HealthBoard, key_id: str = A) -> None:
    for _ in range(5):
        board.record_failure(key_id, DOWN)
    await board.flush()


async def make_due(redis: Redis, key_id: str = A) -> None:
    stored = KeyHealth.from_json(await redis.hget(KEY, key_id))
    due = KeyHealth(stored.state, stored.failures, stored.trips, 1, 0, "", 0, stored.reason)
    await redis.hset(KEY, key_id, due.to_json())


async def test_an_unknown_key_is_healthy_and_success_writes_nothing(board: MakeBoard, redis: Redis):
    one = board()
    assert await one.available([A, B]) == Available(A)
    one.record_success(A)
    await one.flush()
    assert await redis.exists(KEY) == 0


async def test_failures_count_here_at_once_and_everywhere_soon(board: MakeBoard):
    one, other = board(), board()
    for _ in range(5):
        one.record_failure(A, DOWN)
    assert one.snapshot()[A].state is KeyState.OPEN
    await one.flush()
    barred = await other.available([A])
    assert isinstance(barred, Barred)
    assert barred.is_down
    assert 0 < barred.seconds <= 2.0


async def test_a_look_that_a_write_overtook_closes_no_circuit(
    board: MakeBoard, monkeypatch: pytest.MonkeyPatch
):
    one = board()
    looked, may_hear = asyncio.Event(), asyncio.Event()
    execute = Pipeline.execute

    async def slowly(pipe: Pipeline) -> list[object]:
        answer: list[object] = await execute(pipe)
        looked.set()
        await may_hear.wait()
        return answer

    monkeypatch.setattr(Pipeline, "execute", slowly)  # a reply that is long on its way
    looking = asyncio.create_task(one.available([A]))
    await looked.wait()
    await open_circuit(one)
    may_hear.set()
    assert isinstance(await looking, Barred)


async def test_failures_of_all_workers_add_up(board: MakeBoard):
    boards = [board() for _ in range(5)]
    for one in boards:
        one.record_failure(A, DOWN)
    for one in boards:
        await one.flush()
    assert isinstance(await board().available([A]), Barred)


async def test_another_key_is_used_meanwhile(board: MakeBoard):
    one = board()
    await open_circuit(one)
    assert await one.available([A, B]) == Available(B)


async def test_exactly_one_worker_probes(board: MakeBoard, redis: Redis):
    await open_circuit(board())
    await make_due(redis)
    boards = [board() for _ in range(20)]
    found = await asyncio.gather(*(one.available([A]) for one in boards))
    assert found.count(Available(A, is_probe=True)) == 1
    assert sum(isinstance(outcome, Barred) for outcome in found) == 19


async def test_one_worker_with_many_calls_probes_once(board: MakeBoard, redis: Redis):
    one = board()
    await open_circuit(one)
    await make_due(redis)
    found = await asyncio.gather(*(one.available([A]) for _ in range(20)))
    assert found.count(Available(A, is_probe=True)) == 1


async def test_a_good_probe_opens_the_key_for_all_and_leaves_nothing_behind(
    board: MakeBoard, redis: Redis
):
    one, other = board(), board()
    await open_circuit(one)
    await make_due(redis)
    assert await one.available([A]) == Available(A, is_probe=True)
    one.record_success(A, is_probe=True)
    await one.flush()
    assert await other.available([A]) == Available(A)
    assert await redis.exists(KEY) == 0


async def test_a_bad_probe_doubles_the_wait(board: MakeBoard, redis: Redis):
    one = board()
    await open_circuit(one)
    await make_due(redis)
    assert await one.available([A]) == Available(A, is_probe=True)
    one.record_failure(A, DOWN, is_probe=True)
    await one.flush()
    barred = await board().available([A])
    assert isinstance(barred, Barred)
    assert 2.0 < barred.seconds <= 4.0


async def test_a_probe_that_was_given_up_is_open_to_the_next(board: MakeBoard, redis: Redis):
    one, other = board(), board()
    await open_circuit(one)
    await make_due(redis)
    assert await one.available([A]) == Available(A, is_probe=True)
    one.release_probe(A)
    await one.flush()
    assert await other.available([A]) == Available(A, is_probe=True)


async def test_all_workers_obey_a_cool_down(board: MakeBoard):
    one, other = board(), board()
    one.record_failure(A, Throttled("throttled", "slow down", retry_after_s=20.0))
    await one.flush()
    barred = await other.available([A])
    assert isinstance(barred, Barred)
    assert not barred.is_down
    assert not barred.account_level
    assert 15 < barred.seconds <= 20


async def test_a_refused_account_pauses_its_key(board: MakeBoard):
    one, other = board(), board()
    one.record_failure(A, AccountRefused("invalid_key", "no", status=401))
    await one.flush()
    barred = await other.available([A])
    assert isinstance(barred, Barred)
    assert barred.account_level
    assert 55 < barred.seconds <= 60


async def test_a_refused_request_says_nothing_about_the_key(board: MakeBoard, redis: Redis):
    one = board()
    for _ in range(10):
        one.record_failure(A, RequestRefused("http_400", "no", status=400))
    await one.flush()
    assert await redis.exists(KEY) == 0


async def test_lost_data_means_a_fresh_start(board: MakeBoard, redis: Redis):
    one = board()
    await open_circuit(one)
    await redis.flushall()
    assert await one.available([A]) == Available(A)


async def test_without_redis_a_worker_goes_by_what_it_sees_itself(no_redis: Redis):
    one = HealthBoard(no_redis, refresh_s=0.0)
    assert await one.available([A]) == Available(A)
    await open_circuit(one)
    assert isinstance(await one.available([A]), Barred)
    await one.aclose()


async def test_reads_are_local_between_refreshes(redis: Redis):
    one = HealthBoard(redis, refresh_s=3600.0)
    await one.available([A])
    await redis.aclose(close_connection_pool=True)
    before = (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"]
    for _ in range(100):
        await one.available([A])
    after = (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"]
    assert before == after
    await one.aclose()


async def test_the_api_reads_the_same_values(board: MakeBoard, redis_url: str, tmp_path: Path):
    one = board()
    await open_circuit(one)
    with sync_redis.Redis.from_url(redis_url) as client:
        seen = read_all(client)
    assert seen == one.snapshot()
    shown = seen[A].to_dict()
    assert (shown["state"], shown["consecutive_failures"]) == ("open", 5)
    with (
        sync_redis.Redis.from_url(f"unix://{tmp_path}/gone") as gone,
        pytest.raises(UnavailableError),
    ):
        read_all(gone)
