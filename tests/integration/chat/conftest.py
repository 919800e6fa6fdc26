"""The API and an interactive worker as processes, on a real Redis, SQLite and the simulator's four
wires; started once for all tests of this folder.
"""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from redis import Redis
from sqlalchemy import select

from producer.local.processes import ChildProcess, start_child
from shared import provider_health
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import projects
from shared.db.tables import attempts, batches, jobs, results
from shared.queue.lanes import INTERACTIVE_QUEUE
from tests.mill import prices, write_catalog
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer
from tests.servers.waiting import wait_for

ADMIN_KEY = "the-admin-key-of-the-chat-tests"
WIRES = {"tiny": "openai", "other-tiny": "anthropic", "middle": "gemini", "large": "cohere"}


class ChatMill:
    """What stands, and what a test asks of it. `url` is the API's, without /v1."""

    def __init__(
        self, folder: Path, database_url: str, redis: ValkeyServer, simulator: SimulatorServer
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.simulator = simulator
        self.database = Database(database_url)
        self.url = ""
        self._children: dict[str, ChildProcess] = {}
        write_catalog(folder / "catalog.toml", simulator.url, provider_extras="timeout_s = 20")
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "PROMPTMILL_HOME": str(folder / "home"),
            "PROMPTMILL_DATABASE_URL": database_url,
            "PROMPTMILL_REDIS_URL": redis.url,
            "PROMPTMILL_CATALOG": str(folder / "catalog.toml"),
            "PROMPTMILL_ADMIN_KEY": ADMIN_KEY,
            "PROMPTMILL_READY_FILE": str(folder / "worker-is-ready"),
            "PROMPTMILL_ANSWER_WITHIN_S": "60",
            **{f"{name}_API_KEY": f"key-of-{name}" for name in ("ACME", "GOOGLE", "COHERE")},
            "ANTHROPIC_API_KEY": "key-of-anthropic",
        }

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._start("api", "producer.api", "--port", str(port))
        self.start_worker()
        wait_for(self._is_up, "the API is ready")

    def start_worker(self) -> None:
        ready = self.folder / "worker-is-ready"
        ready.unlink(missing_ok=True)
        options = ("-Q", INTERACTIVE_QUEUE, "-n", "chat@%h", "-c", "8")
        self._start("worker", "worker.celery_worker", *options)
        wait_for(ready.exists, "the worker consumes")

    def stop_worker(self) -> None:
        self._children.pop("worker").kill()

    def close(self) -> None:
        for child in self._children.values():
            child.kill()
        self.database.close()

    def rows(self, table: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(select(table)).all())

    def rows_of_jobs(self) -> list[Any]:
        return self.rows(jobs)

    def rows_of_batches(self) -> list[Any]:
        return self.rows(batches)

    def forget_health(self) -> None:
        """Let every provider's key be well again."""
        with Redis.from_url(self.redis.url) as client:
            client.delete(provider_health.KEY)

    def deafen(self) -> None:
        """Cut all connections that listen: what is told meanwhile is missed."""
        with Redis.from_url(self.redis.url) as client:
            client.client_kill_filter(_type="pubsub")

    def last_job(self) -> Any:
        return max(self.rows(jobs), key=lambda row: row.id)

    def last_batch(self) -> Any:
        return max(self.rows(batches), key=lambda row: row.number)

    def attempts_of(self, job_id: int) -> list[Any]:
        return [row for row in self.rows(attempts) if row.job_id == job_id]

    def result_of(self, job_id: int) -> Any:
        return next((row for row in self.rows(results) if row.job_id == job_id), None)

    def project_with_limit(self, name: str, nusd: int) -> None:
        with self.database.transaction() as connection:
            projects.create(connection, name, utc_now(), limits={"total": nusd})

    def _start(self, name: str, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        log = self.folder / f"{name}.log"
        child = start_child(name, command, log=log, cwd=Path.cwd(), env=self._environment)
        self._children[name] = child

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def running_chat_mill(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    simulator_server: SimulatorServer,
) -> Iterator[ChatMill]:
    folder = tmp_path_factory.mktemp("chat")
    for source in sqlite_template.parent.glob(f"{sqlite_template.name}*"):
        shutil.copy(source, folder / source.name)
    redis = ValkeyServer()
    redis.start()
    url = f"sqlite:///{folder / sqlite_template.name}"
    mill = ChatMill(folder, url, redis, simulator_server)
    try:
        mill.start()
        yield mill
    finally:
        mill.close()
        redis.remove()


@pytest.fixture
def mill(running_chat_mill: ChatMill, simulator: SimulatorServer) -> ChatMill:
    simulator.set_prices(prices())
    return running_chat_mill


@pytest.fixture
def client(mill: ChatMill) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{mill.url}/v1", api_key=ADMIN_KEY, http_client=http) as client:
        yield client


@pytest.fixture(params=WIRES)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)
