"""A provider that repeats our key, whatever it looks like, does not get it into an error."""

import asyncio

import orjson
import pytest
from redis.asyncio import Redis

from tests.contract.providers.raw_server import answer, raw_server
from tests.unit.providers.specs import ask, catalog_of, provider_of
from worker.providers.caller import ModelCaller
from worker.providers.errors import ProviderError

KEYS = ["Zq9!odd", "sk-proj-abcdefghijklmnop", "plainword", "a" * 400]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("status", ["400 Bad", "401 No", "429 Slow", "500 Sick", "200 OK"])
async def test_no_error_holds_the_key_that_a_provider_repeats(redis: Redis, key: str, status: str):
    said = f"{'x' * 250} your key {key} (Bearer {key}) was {key}"
    body = orjson.dumps({"error": {"message": said, "code": key, "type": key}})

    async def repeats(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(body, status))

    async with raw_server(repeats) as server:
        caller = ModelCaller.over(
            catalog_of(provider_of("openai", server.url)), {"acme": (key,)}, redis
        )
        try:
            prepared = caller.prepare("small", ask(), 10)
            with pytest.raises(ProviderError) as caught:
                await caller.send(prepared, await caller.admit(prepared))
        finally:
            await caller.aclose()
    error = caught.value
    assert key[:5] not in f"{error} {error!r} {error.message} {error.args}"
