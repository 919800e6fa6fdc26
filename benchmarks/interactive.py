"""`python -m benchmarks.interactive [--calls N] [--postgres]`: what the mill adds to one call.

The same request goes to the simulator directly and through the API, in turn, so that a busy
machine is busy for both; plain, and streamed to the first token. Both sides keep their connection
alive. The simulator answers after `--latency-ms` (a stream's first piece after 40 % of it).
"""

import argparse
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

import migrations
from producer.local.processes import start_child
from shared.queue.lanes import INTERACTIVE_QUEUE
from tests.mill import prices, write_catalog
from tests.servers.postgres import PostgresServer
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer
from tests.servers.waiting import wait_for

KEY = "the-admin-key-of-this-benchmark"
_QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
_WARM_UP = 20


class Stand:
    """Simulator, API and one interactive worker, as `up` starts them."""

    def __init__(self, stack: ExitStack, *, latency_ms: float, on_postgres: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pmb-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.simulator = SimulatorServer()
        redis = ValkeyServer()
        for server in (self.simulator, redis):
            stack.callback(server.remove)
            server.start()
        self.simulator.set_prices(prices())
        self.simulator.set_scenario({"latency_ms": latency_ms})
        database = f"sqlite:///{self.folder / 'mill.db'}"
        if on_postgres:
            postgres = PostgresServer()
            stack.callback(postgres.remove)
            postgres.start()
            database = postgres.url(postgres.create_database())
        migrations.upgrade(database)
        self._start(stack, database, redis.url)

    def _start(self, stack: ExitStack, database: str, redis_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.api = f"http://127.0.0.1:{port}"
        catalog = write_catalog(self.folder / "catalog.toml", self.simulator.url)
        ready = self.folder / "ready"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "PROMPTMILL_HOME": str(self.folder),
            "PROMPTMILL_DATABASE_URL": database,
            "PROMPTMILL_REDIS_URL": redis_url,
            "PROMPTMILL_CATALOG": str(catalog),
            "PROMPTMILL_ADMIN_KEY": KEY,
            "PROMPTMILL_READY_FILE": str(ready),
            "ACME_API_KEY": "key-of-acme",
        }
        queues = ("-Q", INTERACTIVE_QUEUE, "-c", "16", "--without-mingle", "--without-gossip")
        for name, arguments in (
            ("api", ("producer.api", "--port", str(port))),
            ("worker", ("celery", "-A", "worker.app", "worker", *queues)),
        ):
            command = [sys.executable, "-m", *arguments]
            child = start_child(
                name, command, log=self.folder / name, cwd=Path.cwd(), env=environment
            )
            stack.callback(child.kill)
        wait_for(ready.exists, "the worker consumes")
        wait_for(self._is_up, "the API answers")

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False


def plain_ms(client: httpx.Client, url: str, body: dict[str, Any]) -> float:
    """Milliseconds until the whole answer is there."""
    began = time.perf_counter()
    client.post(url, json=body).raise_for_status()
    return (time.perf_counter() - began) * 1000


def first_token_ms(client: httpx.Client, url: str, body: dict[str, Any]) -> float:
    """Milliseconds until the first event of the stream is there; the rest is read, too."""
    began = time.perf_counter()
    first = 0.0
    with client.stream("POST", url, json={**body, "stream": True}) as answer:
        answer.raise_for_status()
        for part in answer.iter_raw():
            if part and not first:
                first = (time.perf_counter() - began) * 1000
    return first


def measure(stand: Stand, calls: int, how: Callable[..., float]) -> tuple[list[float], list[float]]:
    """Times directly and through the mill, in turn."""
    direct, through = [], []
    key = {"authorization": f"Bearer {KEY}"}
    body = {**_QUESTION, "model": "tiny", "max_tokens": 64}
    with (
        httpx.Client(timeout=60, trust_env=False) as provider,
        httpx.Client(timeout=60, trust_env=False, headers=key) as mill,
    ):
        for number in range(calls + _WARM_UP):
            one = how(provider, f"{stand.simulator.url}/acme/v1/chat/completions", body)
            other = how(mill, f"{stand.api}/v1/chat/completions", body)
            if number >= _WARM_UP:
                direct.append(one)
                through.append(other)
    return direct, through


def told(name: str, direct: Sequence[float], through: Sequence[float]) -> str:
    """One line: medians, the added median and the added 95th percentile."""
    added = sorted(b - a for a, b in zip(direct, through, strict=True))
    p95 = added[int(len(added) * 0.95) - 1]
    return (
        f"{name:<16}{statistics.median(direct):>10.1f}{statistics.median(through):>12.1f}"
        f"{statistics.median(added):>10.1f}{p95:>10.1f}"
    )


def main() -> int:
    """Run and print a table; 1 where the added median is not below 15 ms."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        stand = Stand(stack, latency_ms=given.latency_ms, on_postgres=given.postgres)
        print(f"{'ms':<16}{'direct':>10}{'the mill':>12}{'added':>10}{'p95':>10}")
        plain = measure(stand, given.calls, plain_ms)
        print(told("plain", *plain))
        first = measure(stand, given.calls, first_token_ms)
        print(told("first token", *first))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    added = [b - a for a, b in zip(*first, strict=True)]
    return 0 if statistics.median(added) < 15 else 1


if __name__ == "__main__":
    sys.exit(main())
