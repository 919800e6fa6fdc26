"""One whole system a test process and kind of storage; tests keep to projects of their own."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.acceptance.whole_mill import PATIENCE_S, WholeMill
from tests.servers.collector import Collector
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer


@dataclass
class Hooks:
    """Deliveries received: (body, headers)."""

    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def wait_for(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.received) >= count, PATIENCE_S)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
            with hooks.came:
                hooks.received.append((body, dict(self.headers.items())))
                hooks.came.notify_all()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hooks.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield hooks
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Takes the spans of the mill that has its servers embedded."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="session", params=["embedded", "by_urls"])
def running_mill(
    request: pytest.FixtureRequest, simulator_server: SimulatorServer
) -> Iterator[WholeMill]:
    """SQLite and the embedded Redis, or PostgreSQL and a Redis of somebody else's by their URLs;
    the first is traced, the second is not.
    """
    urls: dict[str, str] = {}
    redis_server: ValkeyServer | None = None
    if request.param == "by_urls":
        postgres = request.getfixturevalue("postgres_server")
        redis_server = ValkeyServer()
        redis_server.start()
        # As a person writes it; the driver is our business.
        database = postgres.url(postgres.create_database()).replace("+psycopg", "")
        urls = {"PROMPTMILL_DATABASE_URL": database, "PROMPTMILL_REDIS_URL": redis_server.url}
    else:
        urls = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": request.getfixturevalue("collector").url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "PROMPTMILL_TRACE_SENT_TO": "acme,webhooks",
        }
    mill = WholeMill(simulator_server, urls, provider_extras="timeout_s = 2")
    try:
        mill.start()
        assert (mill.home / "redis").exists() is (request.param == "embedded")
        assert (mill.home / "promptmill.db").exists() is (request.param == "embedded")
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


@pytest.fixture
def key(mill: WholeMill) -> str:
    """A key of a project of its own."""
    return mill.new_key()
