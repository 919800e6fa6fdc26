"""Loss: what a flushed, restarted or replaced server admits, and how it comes back."""

from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from shared.budget.errors import LedgerUnavailable
from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Closed, Opening, Rebuild, Reserved, Unopened
from shared.errors import ConfigurationError
from tests.unit.budget.ledger_steps import (
    BATCH,
    DAY,
    TOTAL,
    counters,
    new_id,
    opened,
    rebuild,
    request,
)
from tests.unit.budget.valkey_server import ValkeyServer


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_a_new_server_admits_nothing(ledger: Ledger, async_ledger: AsyncLedger) -> None:
    assert await async_ledger.reserve([request(1), request(0)]) == [Closed(), Closed()]
    assert ledger.epoch() is None
    assert ledger.open(new_id(), DAY, 10, 0, {}) is Opening.FENCED


async def test_a_reservation_of_a_lost_epoch_is_not_confirmed_after_anothers_rebuild(
    ledger: Ledger, async_ledger: AsyncLedger, client: "redis.Redis"
) -> None:
    epoch = opened(ledger, {DAY: 10})
    mine = request(10)
    assert await async_ledger.reserve([mine]) == [Reserved(epoch)]
    client.flushall()
    assert await async_ledger.confirm(epoch, [mine.attempt_id]) == [False]
    other = opened(ledger, {DAY: 10})
    assert await async_ledger.reserve([request(10)]) == [Reserved(other)]
    assert await async_ledger.confirm(epoch, [mine.attempt_id]) == [False]
    assert await async_ledger.settle([(mine.attempt_id, 10)]) == [False]
    assert counters(ledger, DAY) == (0, 10)


async def test_an_open_intent_that_was_rebuilt_is_not_confirmed_under_its_old_epoch(
    ledger: Ledger, async_ledger: AsyncLedger, client: "redis.Redis"
) -> None:
    old = opened(ledger, {DAY: 10})
    mine = request(4, DAY, TOTAL)
    client.flushall()
    epoch = rebuild(ledger)
    held = {mine.attempt_id: 4}
    assert ledger.open(epoch, DAY, 10, 0, held) is Opening.OPENED
    assert await async_ledger.confirm(old, [mine.attempt_id]) == [False]
    assert await async_ledger.reserve([mine]) == [Unopened((TOTAL,))]
    assert ledger.open(epoch, TOTAL, 10, 1, held) is Opening.OPENED
    assert await async_ledger.reserve([mine]) == [Reserved(epoch)]
    assert ledger.reclaim([mine.attempt_id]) == [False]
    assert (counters(ledger, DAY), counters(ledger, TOTAL)) == ((0, 4), (1, 4))
    assert await async_ledger.settle([(mine.attempt_id, 3)]) == [True]
    assert (counters(ledger, DAY), counters(ledger, TOTAL)) == ((3, 0), (4, 0))


async def test_a_restarted_server_is_closed_until_rebuilt_although_its_data_survived(
    own_server: ValkeyServer,
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        ledger = Ledger(client)
        epoch = opened(ledger, {DAY: 10})
        async with redis.asyncio.Redis.from_url(own_server.url) as async_client:
            async_ledger = AsyncLedger(async_client)
            mine = request(6)
            await async_ledger.reserve([mine])
            own_server.kill()
            own_server.start()
            await async_client.connection_pool.disconnect()
            assert client.hgetall("{promptmill}:budget:scope:" + DAY.text)
            assert await async_ledger.reserve([request(1)]) == [Closed()]
            assert await async_ledger.confirm(epoch, [mine.attempt_id]) == [False]
            assert await async_ledger.settle([(mine.attempt_id, 1)]) == [False]
            assert ledger.balance([DAY]) == [None]
            assert list(ledger.overdue(0)) == []
            fresh = rebuild(ledger)
            assert await async_ledger.reserve([request(1)]) == [Unopened((DAY,))]
            assert ledger.open(fresh, DAY, 10, 6, {}) is Opening.OPENED
            assert await async_ledger.reserve([request(4)]) == [Reserved(fresh)]


def test_a_primary_that_lost_its_place_and_got_it_back_is_closed(
    own_server: ValkeyServer,
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        ledger = Ledger(client)
        opened(ledger, {DAY: 10})
        run_id = client.info("server")["run_id"]
        client.replicaof("127.0.0.1", "1")
        client.replicaof("no", "one")
        assert client.info("server")["run_id"] == run_id
        assert ledger.epoch() is None


async def test_a_rebuild_admits_nothing_before_it_is_finished(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    token = new_id()
    assert ledger.begin_rebuild(token) is Rebuild.BEGUN
    assert ledger.open(token, DAY, 10, 2, {}) is Opening.OPENED
    assert await async_ledger.reserve([request(1)]) == [Closed()]
    assert ledger.balance([DAY]) == [None]
    epoch = ledger.finish_rebuild(token)
    assert epoch is not None
    assert await async_ledger.reserve([request(1)]) == [Reserved(epoch)]


async def test_an_attempt_that_ends_during_a_rebuild_is_charged_where_it_was_rebuilt(
    ledger: Ledger,
) -> None:
    token, attempt = new_id(), new_id()
    ledger.begin_rebuild(token)
    ledger.open(token, DAY, 10, 2, {attempt: 3})
    assert ledger.settle([(attempt, 1)]) == [True]
    assert ledger.finish_rebuild(token)
    assert counters(ledger, DAY) == (3, 0)


def test_only_one_rebuilds_at_a_time_and_an_abandoned_rebuild_is_taken_over(
    ledger: Ledger,
) -> None:
    first, second = new_id(), new_id()
    assert ledger.begin_rebuild(first) is Rebuild.BEGUN
    assert ledger.begin_rebuild(first) is Rebuild.BEGUN
    assert ledger.begin_rebuild(second) is Rebuild.BUSY
    ledger.open(first, BATCH, 1, 0, {})
    assert ledger.begin_rebuild(second, abandoned_after_s=0) is Rebuild.BEGUN
    assert ledger.open(first, DAY, 10, 0, {}) is Opening.FENCED
    assert ledger.finish_rebuild(first) is None
    epoch = ledger.finish_rebuild(second)
    assert epoch is not None
    assert ledger.epoch() == epoch
    assert ledger.balance([BATCH]) == [None]
    assert list(ledger.scopes()) == []
    assert ledger.begin_rebuild(new_id()) is Rebuild.NOT_NEEDED


def test_a_server_that_may_drop_keys_is_refused(ledger: Ledger, client: "redis.Redis") -> None:
    client.config_set("maxmemory", "1gb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="noeviction"):
            ledger.begin_rebuild(new_id())
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


async def test_a_full_server_admits_nothing_and_still_settles(
    ledger: Ledger, async_ledger: AsyncLedger, client: "redis.Redis"
) -> None:
    opened(ledger, {DAY: 10})
    held = request(4)
    await async_ledger.reserve([held])
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(LedgerUnavailable):
            await async_ledger.reserve([request(1), request(1)])
        assert counters(ledger, DAY) == (0, 4)
        assert await async_ledger.settle([(held.attempt_id, 3)]) == [True]
        assert counters(ledger, DAY) == (3, 0)
    finally:
        client.config_set("maxmemory", "0")
