"""Asking one rung of a ladder: retry on a model, fall back to the rung's next model.

The retries run by tenacity over the pure rules of `worker.retry_policy`; each try is an attempt of
its own with its own reservation, intent and cost row. Escalation is not decided here.
"""

import random
from collections.abc import Callable

from tenacity import AsyncRetrying

from shared.catalog.spec import Catalog
from shared.deciding.estimation import max_tokens_for
from shared.domain.attempt import Purpose
from shared.domain.decisions import Rung
from shared.domain.inference import Request
from worker.metering import Meter
from worker.outcome import (
    Answered,
    AttemptOutcome,
    Busy,
    ClaimLost,
    Failed,
    MoneyRefused,
)
from worker.providers.caller import ModelCaller
from worker.providers.errors import NotSent, ProviderError
from worker.providers.prepared_call import PreparedCall
from worker.retry_policy import retry_if_worth_it, stop_as_decided, wait_as_decided
from worker.story import Story

_CHANGED_CATALOG_S = 60.0
_ASIDE_TOKENS = 256

Exhaustion = Failed | MoneyRefused | Busy | ClaimLost
"""Why a rung gave no answer: the outcome that says most about it."""


class Asking:
    """Asks a rung's models in turn until one answers."""

    def __init__(
        self,
        catalog: Catalog,
        caller: ModelCaller,
        meter: Meter,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._catalog = catalog
        self._caller = caller
        self._meter = meter
        self._chance = chance

    async def ask(self, story: Story, rung: Rung, index: int) -> Answered | Exhaustion:
        """An answer of one of the rung's models, or why there is none.

        Money that is refused for the first model is refused: a dearer fallback would not help,
        and a cheaper one is the pipeline's decision. Of several models that could not be asked,
        the one that may be asked soonest counts, and it counts more than one that refused. Limits
        are a provider's: where they are reached, its other models are not asked.
        """
        worst: Failed | Busy | None = None
        full: set[str] = set()
        for name in rung.models:
            provider = self._provider_of(name)
            if provider and provider in full:
                continue
            outcome = await self._ask_model(story, name, index)
            if isinstance(outcome, Busy) and not outcome.down:
                full.add(provider)
            match outcome:
                case Answered() | ClaimLost():
                    return outcome
                case Failed() if story.asks_no_more:
                    return outcome
                case Failed() | Busy():
                    worst = _telling(worst, outcome)
                case _:
                    return worst if worst is not None else outcome
        if worst is None:
            raise ValueError("a rung without models")
        return worst

    async def check(self, story: Story, name: str, index: int) -> AttemptOutcome:
        """One more answer to compare with the rung's, tried once: a check is no reason to wait."""
        prepared = self._prepare(story, name)
        if isinstance(prepared, Busy):
            return prepared
        return await self._try(story, prepared, index, Purpose.JUDGE)

    async def aside(
        self, story: Story, name: str, request: Request, purpose: Purpose, index: int
    ) -> AttemptOutcome:
        """One call of our own beside the job's, tried once and heard by nobody."""
        try:
            prepared = self._caller.prepare(name, request, request.max_tokens or _ASIDE_TOKENS)
        except NotSent as error:
            return Busy(_CHANGED_CATALOG_S, error.message, down=True)
        return await self._try(story, prepared, index, purpose, is_heard=False)

    async def _ask_model(self, story: Story, name: str, index: int) -> AttemptOutcome:
        """One model with its retries. Failed tries are paid for here; an answer is not yet."""
        prepared = self._prepare(story, name)
        if isinstance(prepared, Busy):
            return prepared
        outcome = await self._try(story, prepared, index)
        if not isinstance(outcome, Failed) or story.cannot_repeat:
            return outcome
        return await self._try_again(story, prepared, index, outcome)

    async def _try_again(
        self, story: Story, prepared: PreparedCall, index: int, first: Failed
    ) -> AttemptOutcome:
        """What becomes of a model whose first try failed; most jobs never come here. The time
        that limits the tries runs from that failure.
        """
        failures: list[Failed] = []

        async def one_try() -> AttemptOutcome:
            outcome = await self._try(story, prepared, index) if failures else first
            if not isinstance(outcome, Failed) or story.cannot_repeat:
                return outcome
            failures.append(outcome)
            raise outcome.error

        retrying = AsyncRetrying(
            retry=retry_if_worth_it(),
            wait=wait_as_decided(self._chance),
            stop=stop_as_decided(),
            reraise=True,
        )
        try:
            outcome: AttemptOutcome = await retrying(one_try)
        except ProviderError:
            return failures[-1]
        return outcome

    def _provider_of(self, name: str) -> str:
        model = self._catalog.models.get(name)
        return "" if model is None else model.provider

    def _prepare(self, story: Story, name: str) -> PreparedCall | Busy:
        model = self._catalog.models.get(name)
        limit = (
            None
            if model is None
            else max_tokens_for(story.request, story.demand, model, story.policy.default_max_tokens)
        )
        if limit is None:
            # The catalog changed since this job was routed.
            return Busy(_CHANGED_CATALOG_S, f"{name} can no longer be asked", down=True)
        try:
            return self._caller.prepare(name, story.request, limit)
        except NotSent as error:
            return Busy(_CHANGED_CATALOG_S, error.message, down=True)

    async def _try(
        self,
        story: Story,
        prepared: PreparedCall,
        index: int,
        purpose: Purpose | None = None,
        *,
        is_heard: bool = True,
    ) -> AttemptOutcome:
        """One attempt; a failed one is paid for.

        What has been told to somebody cannot be told again: such a failure is the last word.
        """
        ordinal, purpose = story.next_ordinal(), purpose or story.purpose_of(index)
        trace = None
        if story.trace is not None:
            trace = story.trace.attempt(prepared, ordinal, index, purpose)
            prepared = trace.carried_by(prepared)
        outcome = await self._meter.attempt(
            story.payer,
            prepared,
            ordinal=ordinal,
            rung=index,
            purpose=purpose,
            listener=story.listener_to(prepared.model.name) if is_heard else None,
            trace=trace,
        )
        if trace is not None:
            trace.ended(outcome)
        match outcome:
            case Failed():
                story.paid(outcome.closing)
                await self._meter.close(story.payer, outcome.closing)
            case Answered():
                pass
            case _:
                story.not_made()
        return outcome


def _telling(one: Failed | Busy | None, other: Failed | Busy) -> Failed | Busy:
    """Of two models that did not answer, what to go by: the one that may be asked again soonest,
    and a wait before a failure, for a wait can still end in an answer.
    """
    match one, other:
        case None, _:
            return other
        case Busy(), Busy():
            return min(one, other, key=lambda busy: busy.retry_in_s)
        case Busy(), _:
            return one
        case _:
            return other
