"""The ledger's verbs one by one, on a real server."""

import pytest
import redis

from shared.budget.errors import AttemptReused, LedgerUnavailable
from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import (
    Balance,
    Exhausted,
    Impossible,
    Opening,
    Reserved,
    ReserveRequest,
    Unopened,
    Wait,
)
from shared.domain.money import MAX_NUSD
from tests.unit.budget.ledger_steps import BATCH, DAY, TOTAL, counters, new_id, opened, request


async def test_a_batch_of_requests_is_decided_in_order(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: 10})
    wanted = [request(6), request(6), request(11), request(4)]
    assert await async_ledger.reserve(wanted) == [
        Reserved(epoch),
        Wait(DAY),
        Impossible(DAY, 10),
        Reserved(epoch),
    ]
    assert counters(ledger, DAY) == (0, 10)


async def test_a_refused_request_takes_nothing_from_any_scope(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 100, TOTAL: 5, BATCH: None})
    (outcome,) = await async_ledger.reserve([request(7, DAY, TOTAL, BATCH)])
    assert outcome == Impossible(TOTAL, 5)
    assert [counters(ledger, scope) for scope in (DAY, TOTAL, BATCH)] == [(0, 0)] * 3


async def test_spent_money_exhausts_and_reserved_money_only_makes_wait(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 10})
    first = request(6)
    await async_ledger.reserve([first])
    assert await async_ledger.reserve([request(10)]) == [Wait(DAY)]
    await async_ledger.settle([(first.attempt_id, 1)])
    assert await async_ledger.reserve([request(10)]) == [Exhausted(DAY, 10, 1, 0)]
    (outcome,) = await async_ledger.reserve([request(9)])
    assert isinstance(outcome, Reserved)


async def test_what_would_fit_to_the_last_unit_after_settling_waits(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {})
    ledger.open(epoch, DAY, 10, 4, {new_id(): 5})
    assert await async_ledger.reserve([request(6)]) == [Wait(DAY)]
    assert await async_ledger.reserve([request(7)]) == [Exhausted(DAY, 10, 4, 5)]


async def test_a_limit_of_zero_is_a_paused_purse_and_still_lets_free_calls_pass(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: 0})
    free = request(0)
    assert await async_ledger.reserve([request(1), free]) == [
        Exhausted(DAY, 0, 0, 0),
        Reserved(epoch),
    ]
    assert await async_ledger.release([free.attempt_id]) == [True]


async def test_the_worst_refusal_is_the_one_told(ledger: Ledger, async_ledger: AsyncLedger) -> None:
    epoch = opened(ledger, {})
    ledger.open(epoch, DAY, 10, 0, {new_id(): 8})
    ledger.open(epoch, TOTAL, 10, 8, {})
    assert await async_ledger.reserve([request(5, DAY, TOTAL)]) == [Exhausted(TOTAL, 10, 8, 0)]
    assert await async_ledger.reserve([request(5, DAY, TOTAL, BATCH)]) == [Unopened((BATCH,))]


async def test_reserving_the_same_attempt_again_counts_once(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: 10, TOTAL: 10})
    wanted = request(6, DAY, TOTAL)
    assert await async_ledger.reserve([wanted, wanted]) == [Reserved(epoch)] * 2
    assert await async_ledger.reserve([wanted]) == [Reserved(epoch)]
    assert counters(ledger, DAY) == counters(ledger, TOTAL) == (0, 6)


async def test_an_attempt_that_comes_back_on_other_terms_is_a_fault(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 10, TOTAL: 10})
    wanted = request(6)
    await async_ledger.reserve([wanted])
    with pytest.raises(AttemptReused):
        await async_ledger.reserve([ReserveRequest(wanted.attempt_id, (DAY,), 7)])
    with pytest.raises(AttemptReused):
        await async_ledger.reserve([ReserveRequest(wanted.attempt_id, (DAY, TOTAL), 6)])
    assert (counters(ledger, DAY), counters(ledger, TOTAL)) == ((0, 6), (0, 0))


async def test_a_settled_reservation_frees_the_rest_once(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 10, TOTAL: None})
    wanted = request(6, DAY, TOTAL)
    await async_ledger.reserve([wanted])
    settlement = (wanted.attempt_id, 2)
    assert await async_ledger.settle([settlement, settlement]) == [True, False]
    assert await async_ledger.release([wanted.attempt_id]) == [False]
    assert counters(ledger, DAY) == counters(ledger, TOTAL) == (2, 0)


async def test_a_cost_above_the_reservation_is_charged_in_full(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 10})
    wanted = request(6)
    await async_ledger.reserve([wanted])
    await async_ledger.settle([(wanted.attempt_id, 13)])
    (balance,) = ledger.balance([DAY])
    assert balance == Balance(DAY, 10, 13, 0)
    assert balance.remaining_nusd == 0
    assert await async_ledger.reserve([request(0)]) == [Exhausted(DAY, 10, 13, 0)]


async def test_a_reclaimed_reservation_can_no_longer_be_confirmed_nor_the_other_way_round(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: 10})
    stale, sent = request(3), request(4)
    await async_ledger.reserve([stale, sent])
    assert await async_ledger.confirm(epoch, [sent.attempt_id]) == [True]
    both = [stale.attempt_id, sent.attempt_id]
    assert ledger.reclaim(both) == [True, False]
    assert await async_ledger.confirm(epoch, both) == [False, True]
    assert counters(ledger, DAY) == (0, 4)


async def test_overdue_reservations_are_listed_over_many_pages(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: None, TOTAL: None})
    wanted = [request(n, DAY, TOTAL) for n in range(1300)]
    await async_ledger.reserve(wanted)
    await async_ledger.confirm(epoch, [wanted[7].attempt_id])
    found = {r.attempt_id: r for r in ledger.overdue(0)}
    assert {(r.attempt_id, r.amount_nusd) for r in found.values()} == {
        (r.attempt_id, r.amount_nusd) for r in wanted
    }
    assert [r.amount_nusd for r in found.values() if r.confirmed] == [7]
    assert found[wanted[0].attempt_id].scopes == (DAY, TOTAL)
    assert list(ledger.overdue(3600)) == []


def test_limits_change_where_open_and_are_noted_where_not(ledger: Ledger) -> None:
    epoch = opened(ledger, {DAY: 10})
    assert ledger.set_limit(DAY, None)
    assert ledger.balance([DAY]) == [Balance(DAY, None, 0, 0)]
    assert not ledger.set_limit(TOTAL, 3)
    assert ledger.balance([TOTAL]) == [None]
    assert ledger.open(epoch, TOTAL, 99, 1, {}) is Opening.OPENED
    assert ledger.balance([TOTAL]) == [Balance(TOTAL, 3, 1, 0)]


def test_a_note_of_a_limit_lapses_but_an_open_scope_does_not(
    ledger: Ledger, client: "redis.Redis"
) -> None:
    epoch = opened(ledger, {})
    ledger.set_limit(DAY, 3)
    key = "{promptmill}:budget:scope:" + DAY.text
    assert client.pttl(key) > 0
    ledger.open(epoch, DAY, 3, 0, {})
    assert client.pttl(key) == -1


def test_opening_an_open_scope_changes_nothing(ledger: Ledger) -> None:
    epoch = opened(ledger, {DAY: 10})
    assert ledger.open(epoch, DAY, 99, 5, {new_id(): 4}) is Opening.ALREADY_OPEN
    assert ledger.balance([DAY]) == [Balance(DAY, 10, 0, 0)]


async def test_a_forgotten_scope_lapses_unless_it_is_used_again(
    ledger: Ledger, async_ledger: AsyncLedger, client: "redis.Redis"
) -> None:
    opened(ledger, {DAY: 10, TOTAL: 10})
    key = "{promptmill}:budget:scope:" + DAY.text
    held = request(1)
    await async_ledger.reserve([held])
    assert not ledger.forget(DAY)
    await async_ledger.release([held.attempt_id])
    assert ledger.forget(DAY)
    assert client.pttl(key) > 0
    await async_ledger.reserve([held])
    assert client.pttl(key) == -1
    await async_ledger.release([held.attempt_id])
    ledger.forget(DAY)
    client.delete(key)  # an hour later
    assert set(ledger.scopes()) == {DAY, TOTAL}
    assert ledger.forget(DAY)
    assert set(ledger.scopes()) == {TOTAL}


async def test_a_correction_is_refused_when_anything_moved(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    opened(ledger, {DAY: 10})
    (seen,) = ledger.balance([DAY])
    assert seen is not None
    await async_ledger.reserve([request(1)])
    assert not ledger.correct(seen, 5)
    (seen,) = ledger.balance([DAY])
    assert seen is not None
    assert ledger.correct(seen, 5)
    assert counters(ledger, DAY) == (5, 1)


async def test_amounts_are_exact_at_the_top_of_the_range(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: MAX_NUSD, TOTAL: None})
    assert await async_ledger.reserve([request(MAX_NUSD - 1, DAY, TOTAL), request(2)]) == [
        Reserved(epoch),
        Wait(DAY),
    ]
    (outcome,) = await async_ledger.reserve([request(1)])
    assert isinstance(outcome, Reserved)
    many = [request(MAX_NUSD - 1, TOTAL) for _ in range(5)]
    await async_ledger.reserve(many)
    assert counters(ledger, TOTAL) == (0, 6 * (MAX_NUSD - 1))
    await async_ledger.settle([(r.attempt_id, MAX_NUSD - 3) for r in many])
    assert counters(ledger, TOTAL) == (5 * (MAX_NUSD - 3), MAX_NUSD - 1)


def test_limits_the_scripts_could_not_compare_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="whole number"):
        ledger.set_limit(DAY, MAX_NUSD + 1)
    with pytest.raises(ValueError, match="whole number"):
        ledger.open("e", DAY, 1, -1, {})


async def test_the_scripts_survive_a_flushed_script_cache(
    ledger: Ledger, async_ledger: AsyncLedger, client: "redis.Redis"
) -> None:
    epoch = opened(ledger, {DAY: 10})
    client.script_flush()
    assert await async_ledger.reserve([request(6)]) == [Reserved(epoch)]
    client.script_flush()
    assert counters(ledger, DAY) == (0, 6)


async def test_a_client_that_decodes_replies_reads_the_same(ledger: Ledger, redis_url: str) -> None:
    opened(ledger, {DAY: 10})
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        decoding = Ledger(client)
        assert decoding.balance([DAY, TOTAL]) == ledger.balance([DAY, TOTAL])
        assert list(decoding.scopes()) == [DAY]
        assert decoding.epoch() == ledger.epoch()


async def test_a_server_that_is_not_there_is_one_error_on_both_edges() -> None:
    url = "unix:///nonexistent/socket"
    with redis.Redis.from_url(url, retry=None) as client, pytest.raises(LedgerUnavailable):
        Ledger(client).balance([DAY])
    async with redis.asyncio.Redis.from_url(url, retry=None) as client_:
        with pytest.raises(LedgerUnavailable):
            await AsyncLedger(client_).reserve([request(1)])


async def test_what_one_call_adds_up_is_exact_above_what_the_server_can_count_in(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: None, TOTAL: None})
    wanted = [request(amount, DAY, TOTAL) for amount in (MAX_NUSD, MAX_NUSD, 1)]
    assert await async_ledger.reserve(wanted) == [Reserved(epoch)] * 3
    assert [counters(ledger, scope) for scope in (DAY, TOTAL)] == [(0, 2 * MAX_NUSD + 1)] * 2
    await async_ledger.settle([(one.attempt_id, one.amount_nusd) for one in wanted])
    assert [counters(ledger, scope) for scope in (DAY, TOTAL)] == [(2 * MAX_NUSD + 1, 0)] * 2


async def test_a_refusal_names_what_its_own_call_has_reserved_before_it(
    ledger: Ledger, async_ledger: AsyncLedger
) -> None:
    epoch = opened(ledger, {DAY: None, BATCH: 10})
    spent = request(3, DAY, BATCH)
    await async_ledger.reserve([spent])
    await async_ledger.settle([(spent.attempt_id, 3)])
    wanted = [request(amount, DAY, BATCH) for amount in (4, 8, 3, 1)]
    assert await async_ledger.reserve(wanted) == [
        Reserved(epoch),
        Exhausted(BATCH, 10, 3, 4),
        Reserved(epoch),
        Wait(BATCH),
    ]
    assert [counters(ledger, scope) for scope in (DAY, BATCH)] == [(3, 7)] * 2
