"""What stands around every contestant: a durable PostgreSQL and a provider that costs nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producer.local.processes import start_child
from tests.servers.postgres import PostgresServer

# What a real database has, unlike the tests': it survives a power cut.
_DURABLE = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "listen_addresses": "",
    "max_wal_size": "4GB",
}


@contextmanager
def durable_postgres() -> Iterator[PostgresServer]:
    """A server of its own, removed at the end."""
    server = PostgresServer(_DURABLE)
    server.start()
    try:
        yield server
    finally:
        server.remove()


@contextmanager
def database_url(kind: str) -> Iterator[str]:
    """Of a new database: "sqlite" (empty: the mill makes one in its home) or "postgres"."""
    if kind == "sqlite":
        yield ""
        return
    with durable_postgres() as server:
        yield server.url(server.create_database())


@contextmanager
def responder(folder: Path) -> Iterator[str]:
    """The provider's address, up to the pace in its path (see `benchmarks.responder`)."""
    ready = folder / "ready"
    command = (sys.executable, "-m", "benchmarks.responder", str(ready))
    child = start_child("responder", command, log=folder / "responder.log")
    while not (ready.exists() and ready.read_text()):
        if not child.is_alive:
            raise RuntimeError(f"the responder did not start:\n{child.log_tail()}")
        time.sleep(0.02)
    try:
        yield ready.read_text()
    finally:
        child.kill()
