"""Plants of real processes: one on servers that are shared, one on servers the test may kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.plant import Plant
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer


@pytest.fixture
def plant(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
) -> Iterator[Plant]:
    plant = Plant(tmp_path, database_url, redis_url, simulator)
    yield plant
    plant.close()


@pytest.fixture
def own_redis() -> Iterator[ValkeyServer]:
    """A server of the test's own."""
    server = ValkeyServer(sync="always")
    server.start()
    yield server
    server.remove()


@pytest.fixture
def plant_on_own_redis(
    tmp_path: Path, database_url: str, own_redis: ValkeyServer, simulator: SimulatorServer
) -> Iterator[Plant]:
    plant = Plant(tmp_path, database_url, own_redis.url, simulator)
    yield plant
    plant.close()
