"""The door of the room: prepare, admit, send, abandon, over real sockets and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from redis.asyncio import Redis

from shared.domain.inference import Usage
from shared.provider_health import KEY
from tests.contract.providers.raw_server import RawServer, answer, raw_server
from tests.contract.providers.test_wires import openai_answer
from tests.unit.providers.specs import ask, catalog_of, provider_of
from worker.providers.caller import ModelCaller
from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    ProviderBusy,
    ProviderDown,
    Throttled,
    Unavailable,
)

GOOD = answer(orjson.dumps(openai_answer("fine")))
KEYS = {"acme": ("key-one", "key-two")}


@asynccontextmanager
async def calling(
    redis: Redis,
    reply: bytes | None = GOOD,
    keys: dict[str, tuple[str, ...]] = KEYS,
    **spec: object,
) -> AsyncIterator[tuple[ModelCaller, RawServer]]:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        if reply is None:
            await reader.read()
        else:
            writer.write(reply)

    async with raw_server(behave) as server:
        caller = ModelCaller.over(
            catalog_of(provider_of("openai", server.url, **spec)), keys, redis
        )
        try:
            yield caller, server
        finally:
            await caller.aclose()


async def call(caller: ModelCaller):
    prepared = caller.prepare("small", ask(), 50)
    return await caller.send(prepared, await caller.admit(prepared))


async def held(redis: Redis) -> int:
    names = [name async for name in redis.scan_iter("{promptmill}:throttle:leases:*")]
    return sum([await redis.zcard(name) for name in names])


async def test_a_call_has_its_worst_case_before_it_is_made(redis: Redis):
    async with calling(redis) as (caller, server):
        prepared = caller.prepare("small", ask(extras={"n": 3}), 50)
        assert prepared.max_output_tokens == 150
        assert prepared.input_token_bound >= len(prepared.encoded.body)
        assert prepared.worst_case_nusd >= 150 * 2000 + prepared.input_token_bound * 1000
        assert server.requests == 0


async def test_an_unknown_model_is_never_sent(redis: Redis):
    async with calling(redis) as (caller, _):
        with pytest.raises(NotSent, match="unknown_model"):
            caller.prepare("other", ask(), 50)


async def test_an_answer_comes_back_and_nothing_stays_held(redis: Redis):
    async with calling(redis, max_concurrency=2, rpm=6000, tpm=10**6) as (caller, _):
        completion = await call(caller)
        assert completion.text == "fine"
        assert completion.usage == Usage(input_tokens=9, output_tokens=2)
        await caller._throttle.flush()
        assert await held(redis) == 0


async def test_load_is_spread_over_the_keys(redis: Redis):
    async with calling(redis) as (caller, _):
        prepared = caller.prepare("small", ask(), 50)
        admissions = [await caller.admit(prepared) for _ in range(4)]
        per_key = [admission.key_id for admission in admissions]
        assert sorted(per_key.count(key_id) for key_id in set(per_key)) == [2, 2]
        for admission in admissions:
            caller.abandon(admission)
        assert "key-one" not in repr(admissions)


async def test_an_answer_without_usage_is_charged_at_its_bounds(redis: Redis):
    body = {**openai_answer("kept"), "usage": None}
    async with calling(redis, answer(orjson.dumps(body))) as (caller, _):
        prepared = caller.prepare("small", ask(), 50)
        completion = await caller.send(prepared, await caller.admit(prepared))
        assert completion.text == "kept"
        assert completion.usage.output_tokens == 50
        assert completion.usage.input_tokens == prepared.input_token_bound


async def test_an_abandoned_admission_makes_room(redis: Redis):
    async with calling(redis, keys={"acme": ("one",)}, max_concurrency=1) as (caller, server):
        prepared = caller.prepare("small", ask(), 50)
        caller.abandon(await caller.admit(prepared))
        await caller.send(prepared, await caller.admit(prepared))
        assert server.requests == 1


async def test_a_full_provider_is_busy(redis: Redis):
    async with calling(redis, keys={"acme": ("one",)}, rpm=6) as (caller, _):
        await call(caller)
        with pytest.raises(ProviderBusy) as caught:
            await caller.admit(caller.prepare("small", ask(), 50))
        assert not caught.value.account_level
        assert 5 < caught.value.retry_in_s <= 10


async def test_a_second_key_takes_over_where_the_first_is_full(redis: Redis):
    async with calling(redis, rpm=6) as (caller, server):
        await call(caller)
        await call(caller)
        assert server.requests == 2


async def test_keys_share_a_burst_and_the_rest_is_told_when(redis: Redis):
    async with calling(redis, rpm=600) as (caller, _):
        prepared = caller.prepare("small", ask(), 50)
        tasks = [asyncio.create_task(caller.admit(prepared)) for _ in range(20)]
        admissions = await asyncio.gather(*tasks)
        per_key = [admission.key_id for admission in admissions]
        assert min(per_key.count(key_id) for key_id in set(per_key)) >= 7
        assert len(set(per_key)) == 2


async def test_a_full_first_key_does_not_hold_up_the_second(redis: Redis):
    async with calling(redis, max_concurrency=1) as (caller, _):
        prepared = caller.prepare("small", ask(), 50)
        first, second = await caller.admit(prepared), await caller.admit(prepared)
        assert first.key_id != second.key_id
        waiting = asyncio.create_task(caller.admit(prepared))
        caller.abandon(first)
        caller.abandon(second)
        assert (await waiting).key_id in (first.key_id, second.key_id)


async def test_a_throttled_key_cools_down_for_all(redis: Redis):
    reply = answer(b"{}", "429 Slow\r\nRetry-After: 30")
    async with calling(redis, reply, keys={"acme": ("one",)}) as (caller, _):
        with pytest.raises(Throttled):
            await call(caller)
        with pytest.raises(ProviderBusy) as caught:
            await call(caller)
        assert 25 < caught.value.retry_in_s <= 30


async def test_a_refused_key_is_passed_over_and_then_the_account_is_busy(redis: Redis):
    async with calling(redis, answer(b"{}", "401 No")) as (caller, server):
        for _ in range(2):
            with pytest.raises(AccountRefused):
                await call(caller)
        with pytest.raises(ProviderBusy) as caught:
            await call(caller)
        assert caught.value.account_level
        assert server.requests == 2


async def test_a_dead_provider_is_down_after_five_failures(redis: Redis):
    one = {"acme": ("one",)}
    async with calling(redis, answer(b"", "503 No"), keys=one, max_concurrency=5) as (caller, _):
        for _ in range(5):
            with pytest.raises(Unavailable):
                await call(caller)
        with pytest.raises(ProviderDown):
            await call(caller)
        await caller._throttle.flush()
        assert await held(redis) == 0


async def test_a_cancelled_call_gives_everything_back_and_blames_nobody(redis: Redis):
    async with calling(redis, None, max_concurrency=5) as (caller, server):
        task = asyncio.create_task(call(caller))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await caller._throttle.flush()
        assert await held(redis) == 0
        assert await redis.exists(KEY) == 0


async def test_garbage_may_have_been_billed(redis: Redis):
    async with calling(redis, answer(b"<html>")) as (caller, _):
        with pytest.raises(MaybeBilled, match="garbage"):
            await call(caller)


async def test_a_provider_without_a_key_that_needs_one_is_down(redis: Redis):
    async with calling(redis, keys={}) as (caller, _):
        with pytest.raises(ProviderDown, match="no key"):
            await call(caller)


async def test_a_keyless_host_is_asked_without_one(redis: Redis):
    async with calling(redis, keys={}, api_keys=()) as (caller, _):
        assert (await call(caller)).text == "fine"
