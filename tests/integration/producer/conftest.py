"""A producer process's parts on real servers, and the real API on a loopback port."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from producer.accounts.access import ensure_default_project
from producer.api.app import create_app
from producer.bootstrap import ProducerContext, build
from shared.clock import utc_now
from shared.settings import Settings

ADMIN_KEY = "the-admin-key-of-these-tests"


@pytest.fixture
def context(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[ProducerContext]:
    settings = Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=database_url,
        redis_url=redis_url,
        simulator_url="http://127.0.0.1:9",  # every provider is available, none is ever asked
        admin_key=SecretStr(ADMIN_KEY),
        max_line_bytes=4096,
        max_batch_lines=20_000,
        max_upload_bytes=8 * 1024 * 1024,
        chunk_size=10,
        webhook_allowed_cidrs=("127.0.0.0/8",),
    )
    context = build(settings)
    ensure_default_project(context.database, utc_now())
    yield context
    context.close()


@pytest.fixture
def address(context: ProducerContext) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(context), log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        yield client
