"""Asking one rung of a ladder: retry on a model, fall back to the rung's next model.

The retries run by tenacity over the pure rules of `worker.retry_policy`; each try is an attempt of
its own with its own reservation, intent and cost row. Escalation is not decided here.
"""

import random
from collections.abc import Callable

from shared.deciding.estimation import effective_max_tokens
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from shared.catalog.spec import Catalog
from shared.domain.attempt import Purpose
from shared.domain.decisions import Rung
from worker.metering import Meter
from worker.outcome import (
    Answered,
    AttemptOutcome,
    Busy,
    ClaimLost,
    Failed,
    MoneyRefused,
)
from worker.providers.caller import ModelCaller, PreparedCall
from worker.providers.errors import NotSent
from worker.story import Story

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
        the one that may be asked soonest counts, and it counts more than one that refused.
        """
        worst: Exhaustion | None = None
        for name in rung.models:
            outcome = await self._ask_model(story, name, index)
            match outcome:
                case Answered() | ClaimLost():
                    return outcome
                case Failed() | Busy():
                    worst = _telling(worst, outcome)
                case _:
                    return worst if worst is not None else outcome
        if worst is None:
            raise ValueError("a rung without models")
        return worst

    async def _ask_model(self, story: Story, name: str, index: int) -> AttemptOutcome:
        """One model with its retries. Failed tries are paid for here; an answer is not yet."""
        max_tokens = effective_max_tokens(story.request, self._catalog, name)
        try:
            prepared = self._caller.prepare(name, story.request, max_tokens)
        except NotSent as error:
            return Busy(60.0, error.message, down=True)
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda outcome: _again(outcome, 1, 0.0) is not None),
            wait=self._pause,
            stop=lambda state: _again(state.outcome, state.attempt_number, 0.0) is None,
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        return await retrying(self._try, story, prepared, index)

    async def _try(self, story: Story, prepared: PreparedCall, index: int) -> AttemptOutcome:
        outcome = await self._meter.attempt(
            story.payer,
            prepared,
            ordinal=story.next_ordinal(),
            rung=index,
            purpose=Purpose.ANSWER,
        )
        if isinstance(outcome, Failed):
            story.paid(outcome.closing)
            await self._meter.close(story.payer, outcome.closing)
        elif not isinstance(outcome, Answered):
            story.not_made()
        return outcome

    def _pause(self, state: RetryCallState) -> float:
        return 0.0
