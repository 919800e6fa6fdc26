"""An asyncio client of the shared test server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def no_redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A client whose server is not there."""
    client = Redis.from_url(f"unix://{tmp_path}/gone.sock")
    yield client
    await client.aclose()
