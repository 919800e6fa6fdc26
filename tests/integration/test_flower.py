"""Flower as `up` starts it, on the real queue configuration: a login, readable tasks, queues."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from producer.local import services
from producer.local.ports import claim_port
from producer.local.processes import ChildProcess, start_child
from shared.domain.batch import Priority
from shared.queue.celery_app import RUN_CHUNK, make_celery_app
from shared.queue.lanes import BATCH_QUEUES
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.settings import Settings
from tests.servers.waiting import wait_for

KEY = "a-key-for-this-test-alone"


@dataclass
class Seen:
    """Flower with one worker beside it."""

    url: str
    flower: ChildProcess
    login: tuple[str, str] = (services.FLOWER_USER, KEY)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def get(self, path: str) -> Any:
        answer = self.http.get(self.url + path, auth=self.login)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def seen(redis_url: str, tmp_path: Path) -> Iterator[Seen]:
    env = os.environ | {"PROMPTMILL_REDIS_URL": redis_url}
    service = services.flower(claim_port(0, ""), KEY)
    own_app = [
        "tests.servers.echo_worker" if part == "worker.app" else part for part in service.command
    ]
    flower = start_child("flower", own_app, env=env | service.env, log=tmp_path / "flower.log")
    worker_command = [sys.executable, "-m", "celery", "-A", "tests.servers.echo_worker", "worker"]
    worker_command += ["-Q", ",".join(BATCH_QUEUES), "-c", "2", "-n", "batch-1@test"]
    worker = start_child("worker", worker_command, env=env, log=tmp_path / "worker.log")
    seen = Seen(service.address, flower)
    try:
        assert service.is_ready is not None
        wait_for(service.is_ready, "Flower is ready")
        wait_for(lambda: "batch-1@test" in seen.get("/api/workers?refresh=1"), "the worker is seen")
        yield seen
    finally:
        seen.http.close()
        flower.kill()
        worker.kill()


def test_tasks_workers_and_queues_are_shown_behind_a_login(seen: Seen, settings: Settings) -> None:
    app = make_celery_app(settings)
    Publisher(app).publish([ChunkMessage("batch_7", 7, "1-100")], "acme", Priority.BATCH)
    app.close()
    wait_for(
        lambda: "SUCCESS" in [task["state"] for task in seen.get("/api/tasks").values()],
        "the task is shown as done",
    )
    (task,) = seen.get("/api/tasks").values()
    assert task["name"] == RUN_CHUNK
    assert "'batch': 'batch_7', 'lines': '1-100'" in task["kwargs"]
    worker = seen.get("/api/workers?refresh=1")["batch-1@test"]
    assert {queue["name"] for queue in worker["active_queues"]} == set(BATCH_QUEUES)
    lengths = seen.get("/api/queues/length")["active_queues"]
    assert {queue["name"] for queue in lengths} >= set(BATCH_QUEUES)


def test_nothing_is_shown_without_the_right_password_which_no_command_line_tells(
    seen: Seen,
) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert seen.http.get(seen.url + path).status_code == 401, path
        wrong = seen.http.get(seen.url + path, auth=("promptmill", "wrong"))
        assert wrong.status_code == 401, path
    assert KEY not in " ".join(psutil.Process(seen.flower.pid).cmdline())
