"""Real servers for all tests: each is started once a test process, at its first use, and emptied
for each test. They die with the process, also when it is killed.

* `redis_url`, `redis_client`: an empty Redis-compatible server.
* `database_url`: a migrated, empty database; a test that takes it runs on SQLite and PostgreSQL.
  `sqlite_url` and `postgres_url` are one of them; `blank_database_url` has no tables yet.
* `simulator`: the fake provider with an empty bill and no faults.
* `settings`: settings on SQLite and that Redis, with a home of their own.
"""

import ipaddress
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings as hypothesis_settings

import migrations
from shared.settings import Settings
from tests.servers.emptied_databases import EmptiedDatabases
from tests.servers.postgres import PostgresServer
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer

# No test depends on time: on a busy machine any single example may take a second.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


def _refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not _is_local(str(address[0])):
        raise RuntimeError(f"a test tried to reach {address[0]}: tests stay on this machine")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


sys.addaudithook(_refuse_the_network)


def pytest_configure(config: pytest.Config) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith("PROMPTMILL_") or name.endswith(("_API_KEY", "_BASE_URL")):
            del os.environ[name]
    # No processor time for pages that nobody looks at.
    os.environ["PROMPTMILL_CONSOLE_AHEAD"] = "false"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_url(redis_server: ValkeyServer) -> str:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    name = postgres_server.create_database()
    migrations.upgrade(postgres_server.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "promptmill.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "promptmill.db"
    for source in sqlite_template.parent.glob(f"{sqlite_template.name}*"):
        shutil.copy(source, tmp_path / source.name)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def emptied_databases(postgres_server: PostgresServer, postgres_template: str) -> EmptiedDatabases:
    return EmptiedDatabases(postgres_server, postgres_template)


@pytest.fixture
def postgres_url(
    postgres_server: PostgresServer, emptied_databases: EmptiedDatabases
) -> Iterator[str]:
    name = emptied_databases.take()
    yield postgres_server.url(name)
    emptied_databases.give_back(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def blank_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'blank.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def simulator_server() -> Iterator[SimulatorServer]:
    server = SimulatorServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def simulator(simulator_server: SimulatorServer) -> SimulatorServer:
    simulator_server.reset()
    return simulator_server


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, redis_url: str) -> Settings:
    return Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=sqlite_url,
        redis_url=redis_url,
    )
