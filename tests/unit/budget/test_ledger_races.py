"""Many clients at once against one server: the sum is exact and never above the limit."""

import asyncio
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor

import redis.asyncio

from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Reserved, ReserveRequest
from tests.unit.budget.ledger_steps import BATCH, DAY, TOTAL, counters, new_id, opened, request


async def spend(url: str, seed: int, rounds: int) -> tuple[int, int]:
    """Reserve, settle and release at random; what was spent and what is still held."""
    rng = random.Random(seed)
    spent, held = 0, {}
    async with redis.asyncio.Redis.from_url(url) as client:
        ledger = AsyncLedger(client)
        for _ in range(rounds):
            wanted = [request(rng.randint(1, 40), DAY, TOTAL, BATCH) for _ in range(4)]
            outcomes = await ledger.reserve(wanted)
            for wish, outcome in zip(wanted, outcomes, strict=True):
                if isinstance(outcome, Reserved):
                    held[wish.attempt_id] = wish.amount_nusd
            for attempt_id in rng.sample(sorted(held), len(held) // 2):
                amount = held.pop(attempt_id)
                cost = rng.randint(0, amount // 4)
                if rng.random() < 0.3:
                    assert await ledger.release([attempt_id]) == [True]
                else:
                    assert await ledger.settle([(attempt_id, cost)]) == [True]
                    spent += cost
    return spent, sum(held.values())


def spend_in_a_process(url: str, seed: int) -> list[tuple[int, int]]:
    async def several() -> list[tuple[int, int]]:
        return await asyncio.gather(*(spend(url, seed * 100 + n, 15) for n in range(8)))

    return asyncio.run(several())


async def overseer(ledger: Ledger, limit: int, done: asyncio.Event) -> int:
    looks = 0
    while not done.is_set():
        (balance,) = await asyncio.to_thread(ledger.balance, [DAY])
        assert balance is not None
        assert balance.spent_nusd + balance.reserved_nusd <= limit
        looks += 1
    return looks


async def test_racing_processes_never_pass_the_limit_and_the_sum_is_exact(
    ledger: Ledger, redis_url: str
) -> None:
    limit = 900
    opened(ledger, {DAY: limit, TOTAL: 5_000, BATCH: None})
    done = asyncio.Event()
    watching = asyncio.create_task(overseer(ledger, limit, done))
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        runs = [loop.run_in_executor(pool, spend_in_a_process, redis_url, n) for n in range(3)]
        results = [pair for run in await asyncio.gather(*runs) for pair in run]
    done.set()
    assert await watching > 0
    sums = (sum(spent for spent, _ in results), sum(held for _, held in results))
    assert sum(sums) > limit // 2
    for scope in (DAY, TOTAL, BATCH):
        assert counters(ledger, scope) == sums


async def test_of_many_racers_for_the_last_unit_exactly_one_gets_it(
    ledger: Ledger, redis_url: str
) -> None:
    opened(ledger, {DAY: 7})

    async def race(wanted: ReserveRequest) -> bool:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            (outcome,) = await AsyncLedger(client).reserve([wanted])
            return isinstance(outcome, Reserved)

    won = await asyncio.gather(*(race(request(4)) for _ in range(40)))
    assert sum(won) == 1
    same = request(3)
    assert all(await asyncio.gather(*(race(same) for _ in range(20))))
    assert counters(ledger, DAY) == (0, 7)


async def test_of_many_who_settle_one_attempt_exactly_one_does(
    ledger: Ledger, redis_url: str
) -> None:
    epoch = opened(ledger, {})
    attempt = new_id()
    ledger.open(epoch, DAY, 7, 0, {attempt: 5})

    async def race(cost: int) -> int:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            (done,) = await AsyncLedger(client).settle([(attempt, cost)])
            return cost if done else 0

    charged = await asyncio.gather(*(race(cost) for cost in range(1, 30)))
    assert counters(ledger, DAY) == (sum(charged), 0)
    assert sum(1 for cost in charged if cost) == 1
