"""A real server for the session, emptied before each test, and the ledgers on it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import redis.asyncio

from shared.budget.ledger import AsyncLedger, Ledger
from tests.unit.budget.valkey_server import ValkeyServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    server = ValkeyServer()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def ledger(client: "redis.Redis") -> Ledger:
    return Ledger(client)


@pytest.fixture
async def async_ledger(client: "redis.Redis", redis_url: str) -> AsyncIterator[AsyncLedger]:
    async with redis.asyncio.Redis.from_url(redis_url) as async_client:
        yield AsyncLedger(async_client)
