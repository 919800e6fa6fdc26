"""The rate of a key against a real Redis, shared by several workers' throttles."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.catalog.spec import ProviderSpec
from shared.errors import UnavailableError
from tests.unit.providers.specs import provider_of
from worker.providers.errors import Throttled
from worker.providers.throttle import BURST_US, Delay, Permit, Throttle

KEY = "acme:00000000"


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[list[Throttle]]:
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    throttles = [Throttle(client) for client in clients]
    yield throttles
    for throttle, client in zip(throttles, clients, strict=True):
        await throttle.aclose()
        await client.aclose()


async def ask_all(
    workers: list[Throttle],
    spec: ProviderSpec,
    count: int,
    tokens: int = 1,
    max_wait_s: float = 5.0,
):
    """Ask for all at once, over all workers; waits are not slept, they are the turns booked."""
    asks = (
        workers[i % len(workers)].acquire(spec, KEY, tokens, max_wait_s=max_wait_s)
        for i in range(count)
    )
    return await asyncio.gather(*asks)


def turns(outcomes: list[Permit | Delay]):
    return sorted(outcome.wait_s for outcome in outcomes if isinstance(outcome, Permit))


async def now_us(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1_000_000 + int(micros)


async def test_many_workers_together_keep_the_request_rate_without_a_burst(workers: list[Throttle]):
    spec = provider_of("openai", rpm=6000)  # 100 a second
    booked = turns(await ask_all(workers, spec, 400))
    assert len(booked) == 400
    at_once = [turn for turn in booked if turn <= 0.001]
    assert len(at_once) <= 6000 / 60 * BURST_US / 1e6 + 2
    # Turns are relative to the moment each was asked, so the span is short by the asking's time.
    after_the_burst = booked[-1] - at_once[-1]
    assert after_the_burst <= (400 - len(at_once)) / 100 + 0.02


async def test_the_rate_holds_within_one_and_a_half_percent_of_a_minute(redis: Redis):
    """Booked on one line of time: what was booked until a moment is the rate times the time."""
    spec = provider_of("openai", rpm=60_000)  # a thousand a second: a minute's worth is quick
    throttle = Throttle(redis)
    began = await now_us(redis)
    await ask_all([throttle], spec, 3000, max_wait_s=60.0)
    asked_for = await now_us(redis) - began
    booked = int(await redis.hget(f"{{promptmill}}:throttle:rate:{KEY}", "r"))
    assert 3_000_000 <= booked - began <= 3_000_000 * 1.015 + asked_for
    await throttle.aclose()


async def test_real_time_shows_the_rate(workers: list[Throttle]):
    """Sent as booked, no window of a second holds more than its worth and the burst."""
    spec = provider_of("openai", rpm=12_000)  # 200 a second
    loop = asyncio.get_running_loop()
    sent: list[float] = []

    async def call(worker: Throttle) -> None:
        permit = await worker.acquire(spec, KEY, 1)
        assert isinstance(permit, Permit)
        booked_for = loop.time() + permit.wait_s
        sent.append(booked_for)
        worker.release(permit)

    await asyncio.gather(*(call(workers[i % 4]) for i in range(500)))
    sent.sort()
    for start in sent:
        window = [moment for moment in sent if start <= moment < start + 1.0]
        assert len(window) <= 200 * 1.01 + 200 * BURST_US / 1e6 + 1


async def test_a_turn_too_far_away_is_not_booked(redis: Redis):
    spec = provider_of("openai", rpm=60)
    throttle = Throttle(redis)
    outcomes = await ask_all([throttle], spec, 10, max_wait_s=2.0)
    assert len(turns(outcomes)) <= 4
    delays = [outcome for outcome in outcomes if isinstance(outcome, Delay)]
    assert all(2.0 < delay.seconds < 4.1 for delay in delays)
    await throttle.aclose()


async def test_who_finds_the_line_full_waits_for_a_turn_that_is_near_instead_of_going_away(
    redis: Redis,
):
    spec = provider_of("openai", rpm=60_000)  # a thousand a second: two seconds' worth is booked
    throttle = Throttle(redis)
    outcomes = await ask_all([throttle], spec, 3500)
    assert len(turns(outcomes)) == 3500
    assert turns(outcomes)[-1] <= 2.0 + BURST_US / 1e6
    await throttle.aclose()


async def test_tokens_are_booked_and_corrected(redis: Redis):
    spec = provider_of("openai", tpm=6000)  # 100 a second
    throttle = Throttle(redis)
    first = await throttle.acquire(spec, KEY, 1000)
    assert isinstance(first, Permit)
    late = await throttle.acquire(spec, KEY, 10, max_wait_s=1.0)
    assert isinstance(late, Delay)
    assert 8.0 < late.seconds <= 10.0
    throttle.correct(first, 20)
    throttle.release(first)
    await throttle.flush()
    second = await throttle.acquire(spec, KEY, 10, max_wait_s=1.0)
    assert isinstance(second, Permit)
    await throttle.aclose()


async def test_who_waits_for_tokens_takes_those_that_an_ended_call_did_not_need(redis: Redis):
    spec = provider_of("openai", tpm=6000)
    throttle = Throttle(redis)
    first = await throttle.acquire(spec, KEY, 1000)
    assert isinstance(first, Permit)
    waiting = [asyncio.create_task(throttle.acquire(spec, KEY, 5, max_wait_s=30)) for _ in range(9)]
    await throttle.flush()
    assert not any(task.done() for task in waiting)  # a turn ten seconds from now is not booked
    throttle.correct(first, 20)
    throttle.release(first)
    permits = await asyncio.gather(*waiting)
    assert all(isinstance(one, Permit) and one.wait_s <= 1.0 for one in permits)
    await throttle.aclose()


async def test_tokens_are_booked_as_such_calls_have_taken_them(redis: Redis):
    spec = provider_of("openai", tpm=6000)
    throttle = Throttle(redis)
    first = await throttle.acquire(spec, KEY, 1000)
    assert isinstance(first, Permit)
    throttle.correct(first, 20)
    throttle.release(first)
    await throttle.flush()
    booked = turns([await throttle.acquire(spec, KEY, 1000, max_wait_s=1.0) for _ in range(2)])
    assert len(booked) == 2  # taken for all they may take, the second had to wait for ten seconds
    assert booked[-1] <= 0.25
    await throttle.aclose()


async def test_calls_that_are_late_together_leave_one_after_the_other(workers: list[Throttle]):
    spec = provider_of("openai", rpm=6000)
    permits = await ask_all(workers, spec, 60)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(workers[i % 4].depart(permit) for i, permit in enumerate(permits)))
    assert loop.time() - began >= (60 - 100 * BURST_US / 1e6 - 11) / 100


async def test_after_a_refusal_nobody_leaves_for_as_long_as_was_told(workers: list[Throttle]):
    spec = provider_of("openai", rpm=6000)
    refused, other = await ask_all(workers, spec, 2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    workers[0].refused(refused, Throttled("throttled", "slow down", retry_after_s=0.5))
    await workers[0].flush()
    await workers[1].depart(other)
    assert loop.time() - began >= 0.45


async def test_refused_for_tokens_again_a_short_wait_told_lets_one_call_leave_alone(redis: Redis):
    spec = provider_of("openai", tpm=600_000)
    throttle = Throttle(redis)
    loop = asyncio.get_running_loop()
    permits = await ask_all([throttle], spec, 4, tokens=100)
    refused, *others = [one for one in permits if isinstance(one, Permit)]
    for _ in range(2):
        await asyncio.sleep(0.12)  # a refusal told later is a new one
        began = loop.time()
        throttle.refused(refused, Throttled("throttled", "tokens per min", retry_after_s=0.02))
        await throttle.flush()
    left: list[float] = []

    async def leave(permit: Permit) -> None:
        await throttle.depart(permit)
        left.append(loop.time() - began)

    await asyncio.gather(*(leave(permit) for permit in others))
    assert len(left) == 3
    assert sorted(left)[1] >= 0.34
    await throttle.aclose()


async def test_a_provider_that_gives_nothing_back_is_paced_by_what_calls_ask_for(redis: Redis):
    spec = provider_of("openai", tpm=6000)
    throttle = Throttle(redis)
    first = await throttle.acquire(spec, KEY, 100, output_tokens=80)
    throttle.correct(first, 20, input_tokens=5)
    throttle.release(first)
    refused = await throttle.acquire(spec, KEY, 100, output_tokens=80)
    # Such a wait tells of a minute's worth that is gone, though calls took a fraction of it.
    throttle.refused(refused, Throttled("throttled", "tokens per min", retry_after_s=40.0))
    throttle.correct(refused, 0)
    throttle.release(refused)
    await throttle.flush()
    paced = await throttle.acquire(spec, KEY, 100, output_tokens=80)
    assert isinstance(paced, Permit)
    assert paced.is_final
    assert paced.tokens_us == pytest.approx(85 * 10_000, abs=2)
    await throttle.aclose()


async def test_what_remains_tells_before_any_refusal_that_nothing_is_given_back(redis: Redis):
    spec = provider_of("openai", tpm=60_000)
    throttle = Throttle(redis)
    remaining = 60_000
    for _ in range(6):
        permit = await throttle.acquire(spec, KEY, 1000, output_tokens=900)
        assert isinstance(permit, Permit)
        await throttle.depart(permit)
        remaining -= 1000
        told = {"limit": 60_000, "remaining": remaining}
        headers = {f"x-ratelimit-{name}-tokens": str(value) for name, value in told.items()}
        throttle._uses[KEY].heard_at = 0.0  # each answer is looked at, not a few a second
        throttle.heard(KEY, "", {**headers, "x-ratelimit-reset-tokens": "20s"}, permit)
        throttle.correct(permit, 200, input_tokens=100)
        throttle.release(permit)
        await throttle.flush()
    paced = await throttle.acquire(spec, KEY, 1000, output_tokens=900, max_wait_s=30.0)
    assert isinstance(paced, Permit)
    assert paced.is_final
    assert paced.tokens_us == pytest.approx(1_000_000, abs=2)
    await throttle.aclose()


async def test_output_tokens_that_are_limited_apart_set_the_pace(redis: Redis):
    spec = provider_of("anthropic")
    throttle = Throttle(redis)
    stated = {"anthropic-ratelimit-input-tokens-limit": "60000"}
    throttle.heard(KEY, "", {**stated, "anthropic-ratelimit-output-tokens-limit": "6000"})
    booked = await throttle.acquire(spec, KEY, 150, output_tokens=50)
    assert isinstance(booked, Permit)
    assert booked.tokens_us == 500_000  # fifty of a hundred a second; a hundred of a thousand
    throttle.release(booked)
    await throttle.aclose()


async def test_a_limit_stated_while_calls_wait_for_their_turn_holds_as_they_leave(redis: Redis):
    spec = provider_of("openai", rpm=6000)
    throttle = Throttle(redis)
    permits = [one for one in await ask_all([throttle], spec, 12) if isinstance(one, Permit)]
    throttle.heard(KEY, "", {"x-ratelimit-limit-req-minute": "600"})
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(throttle.depart(permit) for permit in permits))
    assert loop.time() - began >= 0.9  # at a hundred a second it would be an eighth
    await throttle.aclose()


async def test_after_a_pause_nobody_makes_up_for_it(redis: Redis):
    spec = provider_of("openai", rpm=6000)
    throttle = Throttle(redis)
    permits = [one for one in await ask_all([throttle], spec, 20) if isinstance(one, Permit)]
    loop = asyncio.get_running_loop()
    for _ in range(2):
        throttle.refused(permits[0], Throttled("throttled", "slow down", retry_after_s=0.5))
        await throttle.flush()
    left: list[float] = []

    async def leave(permit: Permit) -> None:
        await throttle.depart(permit)
        left.append(loop.time())

    await asyncio.gather(*(leave(permit) for permit in permits[1:]))
    assert left[-1] - left[0] >= 18 * 0.0095
    await throttle.aclose()


async def test_where_many_wait_others_are_told_to_come_back_one_after_the_other(redis: Redis):
    spec = provider_of("openai", rpm=600)  # ten a second: thirty wait for the next three
    throttle = Throttle(redis)
    outcomes = await ask_all([throttle], spec, 100, max_wait_s=2.1)
    sent_away = sorted(one.seconds for one in outcomes if isinstance(one, Delay))
    late = [seconds for seconds in sent_away if seconds >= 5.0]
    assert len(late) >= 40
    assert late[-1] - late[0] >= (len(late) - 1) * 0.08
    await throttle.aclose()


async def test_a_call_above_a_minutes_tokens_goes_once_the_line_is_free(redis: Redis):
    throttle = Throttle(redis)
    permit = await throttle.acquire(provider_of("openai", tpm=600), KEY, 5000)
    assert isinstance(permit, Permit)
    assert permit.wait_s == 0
    await throttle.aclose()


async def test_a_cancelled_booking_gives_its_turn_back(redis: Redis):
    spec = provider_of("openai", rpm=6)
    throttle = Throttle(redis)
    for _ in range(5):
        permit = await throttle.acquire(spec, KEY, 1, max_wait_s=0.5)
        assert isinstance(permit, Permit)
        throttle.cancel(permit)
        throttle.cancel(permit)
        await throttle.flush()
    await throttle.aclose()


async def test_concurrency_holds_over_the_cluster_and_a_release_lets_the_next_in(
    workers: list[Throttle],
):
    spec = provider_of("openai", max_concurrency=3)
    running = peak = done = 0

    async def call(worker: Throttle) -> None:
        nonlocal running, peak, done
        permit = await worker.acquire(spec, KEY, 1, max_wait_s=60.0)
        assert isinstance(permit, Permit)
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.002)
        running -= 1
        done += 1
        worker.release(permit)

    await asyncio.gather(*(call(workers[i % 4]) for i in range(60)))
    assert (peak, done) == (3, 60)


async def test_a_full_key_answers_with_a_delay_when_nobody_leaves(redis: Redis):
    spec = provider_of("openai", max_concurrency=1)
    throttle = Throttle(redis)
    held = await throttle.acquire(spec, KEY, 1)
    refused = await throttle.acquire(spec, KEY, 1, max_wait_s=0.1)
    assert isinstance(refused, Delay)
    assert refused.seconds > 0
    throttle.release(held)
    throttle.release(held)
    assert isinstance(await throttle.acquire(spec, KEY, 1), Permit)
    await throttle.aclose()


async def test_a_dead_workers_lease_expires_and_a_living_ones_is_renewed(redis: Redis):
    spec = provider_of("openai", max_concurrency=2)
    dead, living = Throttle(redis, lease_ms=300), Throttle(redis, lease_ms=300)
    lost = await dead.acquire(spec, KEY, 1)
    kept = await living.acquire(spec, KEY, 1)
    dead._keeper.cancel()
    third = await living.acquire(spec, KEY, 1, max_wait_s=30.0)
    assert isinstance(third, Permit)
    leases = {member.decode() for member in await redis.zrange(f"{PREFIX_LEASES}{KEY}", 0, -1)}
    assert leases == {kept.id, third.id}
    assert lost.id not in leases
    await living.aclose()
    await dead.flush()


PREFIX_LEASES = "{promptmill}:throttle:leases:"


async def test_a_caller_that_is_cancelled_holds_nothing(redis: Redis):
    spec = provider_of("openai", max_concurrency=1)
    throttle = Throttle(redis)
    task = asyncio.create_task(throttle.acquire(spec, KEY, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await throttle.flush()
    assert isinstance(await throttle.acquire(spec, KEY, 1, max_wait_s=1.0), Permit)
    await throttle.aclose()


async def test_without_limits_redis_is_never_asked(no_redis: Redis):
    throttle = Throttle(no_redis)
    permit = await throttle.acquire(provider_of("openai"), KEY, 10**9)
    assert isinstance(permit, Permit)
    throttle.correct(permit, 5)
    throttle.release(permit)
    await throttle.aclose()


async def test_without_redis_a_limited_key_is_refused(no_redis: Redis):
    throttle = Throttle(no_redis)
    with pytest.raises(UnavailableError):
        await throttle.acquire(provider_of("openai", rpm=60), KEY, 1)
    await throttle.aclose()


async def test_a_lower_limit_that_an_answer_states_holds_from_then_on(redis: Redis):
    spec = provider_of("openai", rpm=60_000)
    throttle = Throttle(redis)
    assert len(turns(await ask_all([throttle], spec, 50, max_wait_s=0.5))) == 50
    stated = {"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": "30s"}
    throttle.heard(KEY, "", stated)
    outcomes = await ask_all([throttle], spec, 10, max_wait_s=0.5)
    assert len(turns(outcomes)) <= 2
    assert isinstance(await throttle.acquire(spec, KEY, 1, model="other"), Permit)
    await throttle.aclose()


async def test_a_higher_limit_than_the_catalogs_is_not_used_and_one_without_is(redis: Redis):
    throttle = Throttle(redis)
    throttle.heard(KEY, "", {"x-ratelimit-limit-req-minute": "6000"})
    configured = await ask_all([throttle], provider_of("openai", rpm=60), 5, max_wait_s=0.5)
    assert len(turns(configured)) <= 2
    throttle.heard("other", "", {"x-ratelimit-limit-req-minute": "60"})
    asks = (throttle.acquire(provider_of("openai"), "other", 1, max_wait_s=0.5) for _ in range(5))
    assert len(turns(await asyncio.gather(*asks))) <= 2
    await throttle.aclose()
