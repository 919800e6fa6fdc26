"""The same ledger on a cluster client: every key lies in one slot, and so does every call."""

import socket
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from shared.budget.coalescer import Coalescer
from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Reserved
from shared.budget.scripts import KEYS
from tests.unit.budget.ledger_steps import DAY, TOTAL, counters, opened, request
from tests.unit.budget.valkey_server import ValkeyServer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def cluster_port() -> Iterator[int]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"]
    options += ["--cluster-port", str(free_port())]
    server = ValkeyServer(*options)
    try:
        server.start()
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for_the_cluster(client)
        yield port
    finally:
        server.remove()


def wait_for_the_cluster(client: "redis.Redis") -> None:
    """Ask until it serves: a cluster answers CLUSTERDOWN while it makes up its mind."""
    retry = Retry(ConstantBackoff(0.05), 200, supported_errors=(redis.ResponseError,))
    retry.call_with_retry(lambda: client.get(KEYS[0]), lambda _: None)


async def test_the_ledger_and_the_coalescer_work_through_cluster_clients(
    cluster_port: int,
) -> None:
    client = redis.RedisCluster(host="127.0.0.1", port=cluster_port)
    ledger = Ledger(client)
    opened(ledger, {DAY: 10, TOTAL: None})
    async with redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster_port) as async_client:
        coalescer = Coalescer(AsyncLedger(async_client))
        first = request(8, DAY, TOTAL)
        outcome = await coalescer.reserve(first)
        assert isinstance(outcome, Reserved)
        assert await coalescer.confirm(outcome.epoch, first.attempt_id)
        client.script_flush()
        assert await coalescer.settle(first.attempt_id, 3)
        assert isinstance(await coalescer.reserve(request(7, DAY, TOTAL)), Reserved)
        await coalescer.aclose()
    assert set(ledger.scopes()) == {DAY, TOTAL}
    assert len(list(ledger.overdue(0))) == 1
    assert counters(ledger, DAY) == (3, 7)
    client.close()
