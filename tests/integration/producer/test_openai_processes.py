"""API processes that die while they read a file into its batch."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest
from openai.types import Batch
from sqlalchemy import func, select

from shared.db.engine import Database
from shared.db.tables import batches, jobs
from tests.integration.producer import sdk

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
KEY = "admin-key-of-this-test-alone-0123456789"
LINES = 30_000


@contextmanager
def serving(env: dict[str, str], folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "producer.api", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    log = (folder / "api.log").open("ab")
    with log, subprocess.Popen(command, env=env, cwd=folder, stderr=log) as process:
        try:
            until(lambda: answers(url), process)
            yield url, process
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def until(reached: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + sdk.PATIENCE_S
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_another_process_reads_on_where_one_ended(
    database_url: str, redis_url: str, tmp_path: Path, how: signal.Signals
) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PROMPTMILL_HOME": str(tmp_path / "home"),
        "PROMPTMILL_DATABASE_URL": database_url,
        "PROMPTMILL_REDIS_URL": redis_url,
        "PROMPTMILL_ADMIN_KEY": KEY,
        "PROMPTMILL_SIMULATOR_URL": "http://127.0.0.1:9",
        "PROMPTMILL_LEASE_S": "1" if how is signal.SIGKILL else "3600",
    }
    database = Database(database_url)

    def taken() -> int:
        with database.reading() as connection:
            return int(connection.execute(select(func.max(batches.c.total))).scalar_one() or 0)

    with serving(env, tmp_path) as (url, process), sdk.connect(url, KEY) as client:
        batch = sdk.batch_of(client, sdk.lines(LINES))
        until(lambda: taken() > 0, process)
        process.send_signal(how)
        process.wait(sdk.PATIENCE_S)
    assert 0 < taken() < LINES
    with serving(env, tmp_path) as (url, _), sdk.connect(url, KEY) as client:
        batch = sdk.until(lambda: openai_batch(client, batch.id), "in_progress", "failed")
        assert batch.status == "in_progress", batch.errors
        assert batch.request_counts
        assert batch.request_counts.total == LINES
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == LINES
    database.close()


def openai_batch(client: openai.OpenAI, batch_id: str) -> Batch:
    return client.batches.retrieve(batch_id)
