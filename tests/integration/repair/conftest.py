"""Real servers for the repairers' tests: both databases and a Redis-compatible server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.repair.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mill.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()
