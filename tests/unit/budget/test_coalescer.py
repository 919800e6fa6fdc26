"""The coalescer: many waiters, few calls, and nothing lost by errors or cancellation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from shared.budget.calls import Call
from shared.budget.coalescer import Coalescer
from shared.budget.errors import AttemptReused, LedgerUnavailable
from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Reserved, ReserveRequest, Wait
from tests.unit.budget.ledger_steps import DAY, TOTAL, counters, new_id, opened, request


class GatedLedger(AsyncLedger):
    """The real ledger, whose exchanges can be counted, held before or after, and made to fail."""

    def __init__(self, ledger: AsyncLedger) -> None:
        super().__init__(ledger._client)
        self.exchanges: list[int] = []
        self.before, self.after = asyncio.Event(), asyncio.Event()
        self.before.set()
        self.after.set()
        self.entered, self.answered = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def run_all(self, batch: Sequence[Call[Any]]) -> list[Any]:
        self.exchanges.append(len(batch))
        self.entered.set()
        await self.before.wait()
        if self.failure is not None:
            raise self.failure
        replies = await super().run_all(batch)
        self.answered.set()
        await self.after.wait()
        return replies


@pytest.fixture
async def gated(async_ledger: AsyncLedger) -> GatedLedger:
    return GatedLedger(async_ledger)


@pytest.fixture
async def coalescer(gated: GatedLedger) -> AsyncIterator[Coalescer]:
    coalescer = Coalescer(gated, interval_s=0.001)
    yield coalescer
    await coalescer.aclose()


async def test_a_thousand_waiters_share_few_exchanges_and_spend_exactly(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 1_500, TOTAL: None})

    async def job(n: int) -> int:
        wanted = request(3, DAY, TOTAL)
        outcome = await coalescer.reserve(wanted)
        if not isinstance(outcome, Reserved):
            return 0
        assert await coalescer.confirm(outcome.epoch, wanted.attempt_id)
        if n % 5 == 0:
            assert await coalescer.release(wanted.attempt_id)
            return 0
        assert await coalescer.settle(wanted.attempt_id, n % 4)
        return n % 4

    costs = await asyncio.gather(*(job(n) for n in range(1000)))
    assert counters(ledger, DAY) == counters(ledger, TOTAL) == (sum(costs), 0)
    assert sum(costs) > 0
    assert len(gated.exchanges) < 50


async def test_freed_money_is_there_for_the_reservations_of_the_same_exchange(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 10})
    settled, released = request(5), request(5)
    await asyncio.gather(coalescer.reserve(settled), coalescer.reserve(released))
    outcomes = await asyncio.gather(
        coalescer.reserve(request(6)),
        coalescer.reserve(request(3)),
        coalescer.settle(settled.attempt_id, 1),
        coalescer.release(released.attempt_id),
    )
    assert [type(outcome) for outcome in outcomes] == [Reserved, Reserved, bool, bool]
    assert len(gated.exchanges) == 2


async def test_one_call_takes_no_more_than_the_batch_size(
    ledger: Ledger, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: None})
    coalescer = Coalescer(gated, max_batch=10)
    outcomes = await asyncio.gather(*(coalescer.reserve(request(1)) for _ in range(95)))
    assert all(isinstance(outcome, Reserved) for outcome in outcomes)
    assert len(gated.exchanges) == 10


async def test_those_who_come_during_an_exchange_go_together_in_the_next(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 10})
    gated.after.clear()
    first = asyncio.create_task(coalescer.reserve(request(8)))
    await gated.answered.wait()
    rest = [asyncio.create_task(coalescer.reserve(request(n))) for n in (3, 2)]
    await asyncio.sleep(0)
    gated.after.set()
    assert isinstance(await first, Reserved)
    assert [type(outcome) for outcome in await asyncio.gather(*rest)] == [Wait, Reserved]
    assert len(gated.exchanges) == 2


async def test_every_waiter_gets_its_own_error_and_the_next_call_works(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 10})
    gated.failure = LedgerUnavailable("gone")
    waiting = [coalescer.reserve(request(1)), coalescer.confirm("e", new_id())]
    errors = await asyncio.gather(*waiting, coalescer.settle(new_id(), 1), return_exceptions=True)
    assert [type(error) for error in errors] == [LedgerUnavailable] * 3
    assert len({id(error) for error in errors}) == 3
    gated.failure = None
    assert isinstance(await coalescer.reserve(request(1)), Reserved)


async def test_even_an_unforeseen_fault_leaves_nobody_waiting(
    coalescer: Coalescer, gated: GatedLedger
) -> None:
    gated.failure = KeyError("unforeseen")
    with pytest.raises(LedgerUnavailable, match="KeyError"):
        await coalescer.release(new_id())


async def test_a_fault_of_one_caller_spoils_no_other(ledger: Ledger, coalescer: Coalescer) -> None:
    opened(ledger, {DAY: 10})
    wanted = request(2)
    await coalescer.reserve(wanted)
    good, bad = await asyncio.gather(
        coalescer.reserve(request(3)),
        coalescer.reserve(ReserveRequest(wanted.attempt_id, (DAY,), 4)),
        return_exceptions=True,
    )
    assert isinstance(good, Reserved)
    assert isinstance(bad, AttemptReused)


async def test_confirmations_of_two_epochs_are_told_apart(
    ledger: Ledger, coalescer: Coalescer
) -> None:
    epoch = opened(ledger, {DAY: 10})
    wanted = request(2)
    await coalescer.reserve(wanted)
    ids = [wanted.attempt_id] * 2
    answers = [coalescer.confirm(e, i) for e, i in zip((epoch, "older"), ids, strict=True)]
    assert await asyncio.gather(*answers) == [True, False]


@pytest.mark.parametrize("moment", ["queued", "sent"])
async def test_a_cancelled_settlement_is_settled_all_the_same(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger, moment: str
) -> None:
    opened(ledger, {DAY: 10})
    wanted = request(6)
    await coalescer.reserve(wanted)
    gated.entered.clear()
    gated.before.clear()
    task = asyncio.create_task(coalescer.settle(wanted.attempt_id, 2))
    await (asyncio.sleep(0) if moment == "queued" else gated.entered.wait())
    task.cancel()
    gated.before.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await coalescer.aclose()
    assert counters(ledger, DAY) == (2, 0)


async def test_a_reservation_cancelled_before_it_was_sent_is_never_made(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 10})
    task = asyncio.create_task(coalescer.reserve(request(6)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await coalescer.aclose()
    assert gated.exchanges == []


async def test_a_reservation_whose_waiter_was_cancelled_on_the_way_is_released(
    ledger: Ledger, coalescer: Coalescer, gated: GatedLedger
) -> None:
    opened(ledger, {DAY: 10})
    gated.after.clear()
    task = asyncio.create_task(coalescer.reserve(request(6)))
    await gated.answered.wait()
    assert counters(ledger, DAY) == (0, 6)
    task.cancel()
    gated.after.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await coalescer.aclose()
    assert counters(ledger, DAY) == (0, 0)


async def test_a_reservation_whose_waiter_was_cancelled_after_the_answer_is_released(
    ledger: Ledger, gated: GatedLedger
) -> None:
    class CancellingCoalescer(Coalescer):
        """Cancels the waiter when its answer is there and it has not seen it yet."""

        def _deliver(self, shipment: Any, reply: Any) -> None:
            super()._deliver(shipment, reply)
            task.cancel()

    opened(ledger, {DAY: 10})
    coalescer = CancellingCoalescer(gated)
    task = asyncio.create_task(coalescer.reserve(request(6)))
    with pytest.raises(asyncio.CancelledError):
        await task
    await coalescer.aclose()
    assert len(gated.exchanges) == 2
    assert counters(ledger, DAY) == (0, 0)


async def test_a_closed_coalescer_has_sent_all_and_takes_no_more(
    ledger: Ledger, coalescer: Coalescer
) -> None:
    opened(ledger, {DAY: 10})
    task = asyncio.create_task(coalescer.reserve(request(6)))
    await asyncio.sleep(0)
    await coalescer.aclose()
    assert isinstance(await task, Reserved)
    with pytest.raises(LedgerUnavailable, match="closed"):
        await coalescer.settle(new_id(), 1)
