"""Two primaries at once: what each admits, and how the old one is kept from it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
import redis.asyncio

from producer.local.ports import claim_port
from shared.budget.errors import LedgerUnavailable
from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Exhausted, Reserved
from shared.errors import UnavailableError
from shared.redis_client import mapped_redis_errors
from tests.servers.waiting import wait_for
from tests.unit.budget.ledger_steps import DAY, counters, opened, request
from tests.unit.budget.valkey_server import ValkeyServer

LIMIT = 10
SPENT = 4


@contextmanager
def primary_and_replica(*options: str) -> Iterator[tuple["redis.Redis", "redis.Redis"]]:
    servers: list[ValkeyServer] = []
    port = claim_port(0, "")
    try:
        for own in ([f"{port}", *options], ["0", "--replicaof", "127.0.0.1", f"{port}"]):
            network = ["--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", "--port"]
            servers.append(ValkeyServer(*network, *own))
            servers[-1].start()
        old, new = (redis.Redis.from_url(server.url) for server in servers)
        wait_for(lambda: new.info("replication")["master_link_status"] == "up", "it replicates")
        wait_for(lambda: old.info("replication")["connected_slaves"], "it has a replica")
        yield old, new
        old.close()
        new.close()
    finally:
        for server in servers:
            server.remove()


async def reserve(client: "redis.Redis", amount: int) -> object:
    path = client.connection_pool.connection_kwargs["path"]
    async with redis.asyncio.Redis(unix_socket_path=path) as own:
        (outcome,) = await AsyncLedger(own).reserve([request(amount)])
    return outcome


async def test_two_primaries_admit_what_was_left_once_each_and_nothing_spent_before_is_forgotten():
    with primary_and_replica() as (old, new):
        epoch = opened(Ledger(old), {DAY: LIMIT}, spent=SPENT)
        new.replicaof("NO", "ONE")
        assert Ledger(new).epoch() is None, "closed until it is rebuilt from the database"
        other = opened(Ledger(new), {DAY: LIMIT}, spent=SPENT)

        assert await reserve(old, LIMIT - SPENT) == Reserved(epoch)
        assert await reserve(new, LIMIT - SPENT) == Reserved(other)
        for client in (old, new):
            assert counters(Ledger(client), DAY) == (SPENT, LIMIT - SPENT)
            assert not isinstance(await reserve(client, 1), Reserved)


async def test_an_old_primary_that_must_have_a_replica_admits_nothing_once_it_has_none():
    options = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"]
    with primary_and_replica(*options) as (old, new):
        wait_for(lambda: old.info("replication")["min_slaves_good_slaves"], "it counts its replica")
        opened(Ledger(old), {DAY: LIMIT}, spent=SPENT)
        new.replicaof("NO", "ONE")
        wait_for(lambda: not old.info("replication")["min_slaves_good_slaves"], "it is alone")

        with pytest.raises(LedgerUnavailable, match="NOREPLICAS"):
            await reserve(old, 1)
        with pytest.raises(UnavailableError, match="takes no writes"), mapped_redis_errors():
            old.set("anything", 1)
        opened(Ledger(new), {DAY: LIMIT}, spent=LIMIT)
        assert isinstance(await reserve(new, 1), Exhausted)
