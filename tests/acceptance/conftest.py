"""One whole system a test process and kind of storage; tests keep to projects of their own."""

from collections.abc import Iterator

import pytest

from tests.acceptance.whole_mill import WholeMill
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer


@pytest.fixture(scope="session", params=["embedded", "by_urls"])
def running_mill(
    request: pytest.FixtureRequest, simulator_server: SimulatorServer
) -> Iterator[WholeMill]:
    """SQLite and the embedded Redis, or PostgreSQL and a Redis of somebody else's by their URLs."""
    urls: dict[str, str] = {}
    redis_server: ValkeyServer | None = None
    if request.param == "by_urls":
        postgres = request.getfixturevalue("postgres_server")
        redis_server = ValkeyServer()
        redis_server.start()
        # As a person writes it; the driver is our business.
        database = postgres.url(postgres.create_database()).replace("+psycopg", "")
        urls = {"PROMPTMILL_DATABASE_URL": database, "PROMPTMILL_REDIS_URL": redis_server.url}
    mill = WholeMill(simulator_server, urls, provider_extras="timeout_s = 2")
    try:
        mill.start()
        assert (mill.home / "redis").exists() is not bool(urls)
        assert (mill.home / "promptmill.db").exists() is not bool(urls)
        yield mill
        assert mill.stop() == 0
    finally:
        if redis_server is not None:
            redis_server.remove()


@pytest.fixture
def mill(running_mill: WholeMill) -> Iterator[WholeMill]:
    """The running system with an empty bill and providers in good health."""
    running_mill.reset()
    yield running_mill
    running_mill.reset()
    running_mill.heal()
