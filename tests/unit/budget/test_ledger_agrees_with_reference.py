"""Any history of the ledger, losses and rebuilds included, against the reference and the truth."""

import asyncio
from dataclasses import dataclass

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Rebuild, Reserved, ReserveRequest, Scope
from tests.unit.budget.ledger_steps import BATCH, DAY, TOTAL, new_id
from tests.unit.budget.reference_ledger import ReferenceLedger

SCOPES = (DAY, TOTAL, BATCH)
SMALL = st.integers(0, 12)
LARGE = st.sampled_from([9 * 10**15, 9 * 10**15 - 3])
LIMITS = st.sampled_from([None, 0, 5, 15, 20, 25, 30, 40, 9 * 10**15])
SOME_SCOPES = st.lists(st.sampled_from(SCOPES), min_size=1, unique=True).map(tuple)


@dataclass(eq=False)
class Attempt:
    """What the world knows of an attempt: `durable` once the database has its intent."""

    request: ReserveRequest
    epoch: str
    durable: bool = False
    ended: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """The machine keeps the database; the ledger and the reference are told the same."""

    url: str
    attempts = Bundle("attempts")

    @initialize()
    def connect(self) -> None:
        self.client = redis.Redis.from_url(self.url)
        self.client.flushall()
        self.ledger = Ledger(self.client)
        self.reference = ReferenceLedger()
        self.runner = asyncio.Runner()
        self.async_client = redis.asyncio.Redis.from_url(self.url)
        self.async_ledger = AsyncLedger(self.async_client)
        self.limits: dict[Scope, int | None] = dict.fromkeys(SCOPES, 20)
        self.spent: dict[Scope, int] = dict.fromkeys(SCOPES, 0)
        self.known: list[Attempt] = []
        self.old_epochs = [new_id()]
        self.rebuild(SCOPES)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.async_client.aclose())
            self.runner.close()
            self.client.close()

    def underway(self, scope: Scope) -> list[Attempt]:
        return [a for a in self.known if scope in a.request.scopes and not a.ended]

    def open_under(self, name: str, scope: Scope) -> None:
        held = {
            a.request.attempt_id: a.request.amount_nusd for a in self.underway(scope) if a.durable
        }
        figures = (name, scope, self.limits[scope], self.spent[scope], held)
        assert self.ledger.open(*figures) is self.reference.open(*figures)

    def end(self, attempt: Attempt, cost: int) -> None:
        attempt.ended = True
        for scope in attempt.request.scopes:
            self.spent[scope] += cost

    @precondition(lambda self: self.underway(TOTAL))
    @rule(scopes=SOME_SCOPES)
    def lose_and_rebuild(self, scopes: tuple[Scope, ...]) -> None:
        self.lose_everything()
        self.rebuild(scopes)

    @precondition(lambda self: self.reference.epoch is None)
    @rule(scopes=SOME_SCOPES)
    def rebuild(self, scopes: tuple[Scope, ...]) -> None:
        token = new_id()
        assert self.ledger.begin_rebuild(token) is Rebuild.BEGUN
        self.reference.begin(token)
        for scope in scopes:
            self.open_under(token, scope)
        epoch = self.ledger.finish_rebuild(token)
        assert epoch is not None
        self.reference.finish(epoch)

    @precondition(lambda self: self.reference.epoch is not None)
    @rule(scope=st.sampled_from(SCOPES))
    def open_lazily(self, scope: Scope) -> None:
        assert self.ledger.epoch() == self.reference.epoch
        self.open_under(str(self.reference.epoch), scope)

    @rule(scope=st.sampled_from(SCOPES))
    def open_with_figures_of_an_older_epoch(self, scope: Scope) -> None:
        self.open_under(self.old_epochs[-1], scope)

    @rule(target=attempts, amount=SMALL | SMALL | SMALL | LARGE, scopes=SOME_SCOPES)
    def reserve(self, amount: int, scopes: tuple[Scope, ...]) -> object:
        request = ReserveRequest(new_id(), scopes, amount)
        before = {s: sum(a.request.amount_nusd for a in self.underway(s)) for s in scopes}
        (outcome,) = self.runner.run(self.async_ledger.reserve([request]))
        assert outcome == self.reference.reserve(request)
        if not isinstance(outcome, Reserved):
            return multiple()
        for scope in scopes:
            limit = self.limits[scope]
            assert limit is None or self.spent[scope] + before[scope] + amount <= limit
        self.known.append(Attempt(request, outcome.epoch))
        return self.known[-1]

    @rule(attempt=attempts)
    def reserve_again(self, attempt: Attempt) -> None:
        if attempt.request.attempt_id in self.reference.holds:
            (outcome,) = self.runner.run(self.async_ledger.reserve([attempt.request]))
            assert outcome == self.reference.reserve(attempt.request)

    @rule(attempt=attempts)
    def make_durable_and_confirm(self, attempt: Attempt) -> None:
        if attempt.ended:
            return
        attempt.durable = True
        args = (attempt.epoch, [attempt.request.attempt_id])
        (held,) = self.runner.run(self.async_ledger.confirm(*args))
        assert held is self.reference.confirm(attempt.epoch, attempt.request.attempt_id)
        if not held:
            self.end(attempt, 0)
            self.release(attempt)

    @rule(attempt=attempts, cost=st.integers(0, 14))
    def settle(self, attempt: Attempt, cost: int) -> None:
        if attempt.durable and not attempt.ended:
            self.end(attempt, cost)
        elif not attempt.ended:
            return
        attempt_id = attempt.request.attempt_id
        (done,) = self.ledger.settle([(attempt_id, cost)])
        assert done is self.reference.settle(attempt_id, cost)
        assert self.ledger.settle([(attempt_id, cost)]) == [False]

    @rule(attempt=consumes(attempts))
    def release(self, attempt: Attempt) -> None:
        attempt.ended = True
        attempt_id = attempt.request.attempt_id
        (done,) = self.ledger.release([attempt_id])
        assert done is self.reference.settle(attempt_id, 0)

    @rule()
    def expire(self) -> None:
        for reservation in list(self.ledger.overdue(0)):
            attempt_id = reservation.attempt_id
            (gone,) = self.ledger.reclaim([attempt_id])
            assert gone is self.reference.reclaim(attempt_id)
            assert gone is not reservation.confirmed
        for attempt in self.known:
            attempt.ended |= not attempt.durable

    @rule(scope=st.sampled_from(SCOPES), limit=LIMITS)
    def change_limit(self, scope: Scope, limit: int | None) -> None:
        self.limits[scope] = limit
        assert self.ledger.set_limit(scope, limit) is self.reference.set_limit(scope, limit)

    @precondition(lambda self: self.reference.epoch is not None)
    @rule()
    def lose_everything(self) -> None:
        self.client.flushall()
        self.client.script_flush()
        self.old_epochs.append(self.reference.epoch or self.old_epochs[-1])
        self.reference.lose()
        for attempt in self.known:
            # Whatever was not confirmed will be told so before it is sent.
            attempt.ended |= not attempt.durable

    @invariant()
    def counters_agree(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for scope, balance in zip(SCOPES, self.ledger.balance(SCOPES), strict=True):
            purse = self.reference.purses.get(scope)
            if purse is None or self.reference.epoch is None:
                assert balance is None
                continue
            assert balance is not None
            assert balance.limit_nusd == purse.limit
            assert balance.spent_nusd == purse.spent == self.spent[scope]
            assert balance.reserved_nusd == purse.reserved


@pytest.mark.timeout(240)
def test_every_history_agrees_with_the_reference_and_never_admits_above_a_limit(
    redis_url: str,
) -> None:
    LedgerMachine.url = redis_url
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
