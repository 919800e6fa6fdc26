"""A call that takes very long keeps its own place and nobody else's."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer


class _Host(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HoldsSomeBack)
        self.asked_to_wait = threading.Event()
        self.released = threading.Event()


class _HoldsSomeBack(BaseHTTPRequestHandler):
    server: _Host

    def do_POST(self) -> None:
        if b"slow" in self.rfile.read(int(self.headers["content-length"])):
            self.server.asked_to_wait.set()
            self.server.released.wait()
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": "Paris."}}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        body = json.dumps({"id": "x", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[_Host]:
    server = _Host()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def test_the_next_chunk_runs_while_one_waits_for_its_slowest_job(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer, host: _Host
) -> None:
    urls = {"acme": f"http://127.0.0.1:{host.server_port}/v1"}
    with running_mill(
        tmp_path, database_url, redis_url, simulator, base_urls=urls, max_in_flight=4
    ) as mill:
        words = ["slow"] + ["quick"] * 11
        ids = mill.batch([asking(f"A {word} question", model="tiny") for word in words])
        waiting = threading.Thread(target=mill.worker.runner.run, args=(ids[:4],))
        waiting.start()
        assert host.asked_to_wait.wait(60)
        for chunk in (ids[4:8], ids[8:]):
            assert mill.worker.runner.run(chunk) == 4
        assert waiting.is_alive()
        assert mill.worker.runner.unfinished == 1
        assert not mill.worker.runner.wait_until_idle(0)
        host.released.set()
        waiting.join()
        assert mill.worker.runner.wait_until_idle(0)
        assert mill.statuses() == {"completed": 12}
