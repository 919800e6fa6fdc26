"""Judging by agreement: a second cheap answer is bought where it pays, and disagreement climbs.

The first answer is paid for and kept before the second is asked for, so that a crash in between
buys only the second again; once that is paid for, its verdict is remembered and nothing is bought
twice. Where the second cannot be had (money, a sick provider), the first one stands as it was.
"""

import orjson

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import Catalog
from shared.deciding.agreement import key_for, peer_for, unchecked, verdict_of
from shared.domain.inference import text_of
from worker.answers import Answer
from worker.asking import Asking
from worker.metering import Meter
from worker.outcome import Answered
from worker.story import Story


class Agreeing:
    """Checks answers that the deterministic checks accepted; one object serves all jobs."""

    def __init__(self, catalog: Catalog, asking: Asking, meter: Meter) -> None:
        self._catalog = catalog
        self._asking = asking
        self._meter = meter

    async def checked(self, story: Story, answer: Answer) -> Answer:
        """The answer, with another verdict where a second one was seen."""
        if story.was_checked or not _may_be_checked(story, answer):
            return answer
        if story.earlier_check is not None:
            return story.checked(story.earlier_check)
        own = key_for(story.request, _text(answer.body), story.classification.task_type)
        peer = None if own is None else self._peer(story, answer)
        if own is None or peer is None:
            why = "its answer cannot be compared" if own is None else "nobody can check it"
            return _doubted(story, answer, why)
        if (closing := story.take_unpaid(keep_answer=True)) is not None:
            await self._meter.close(story.payer, closing)
        outcome = await self._asking.check(story, peer, answer.rung)
        if not isinstance(outcome, Answered):
            story.note(f"not checked: {peer} gave no answer")
            return _doubted(story, answer, f"{peer} could not be asked")
        said = key_for(
            story.request, outcome.completion.text.strip(), story.classification.task_type
        )
        verdict = verdict_of(answer.verdict, own, said, peer)
        checked = story.checked(verdict)
        closing = story.paid_check(outcome.closing, verdict, self._spared(story, answer))
        await self._meter.close(story.payer, closing)
        return checked

    def _spared(self, story: Story, answer: Answer) -> int:
        """What the model that the job would have started with would have cost, by the first
        answer's usage; 0 where it would have started here anyway.
        """
        usual = self._catalog.models.get(story.rungs[answer.rung + 1].models[0])
        if not _must_be_checked(story, answer) or usual is None:
            return 0
        return cost_nusd(usual.price, answer.usage)

    def _peer(self, story: Story, answer: Answer) -> str | None:
        models = self._catalog.models
        others = [models[n] for n in story.rungs[answer.rung].models if n in models]
        above = [models[n] for n in story.rungs[answer.rung + 1].models if n in models]
        if answer.model not in models or not above:
            return None
        first = models[answer.model]
        rest = [model for model in others if model is not first]
        peer = peer_for(
            story.request,
            story.classification,
            story.demand,
            (first, rest, above[0]),
            story.policy.default_max_tokens,
            story.policy.learned,
        )
        if peer is None and _must_be_checked(story, answer):
            return (rest or [first])[0].name
        return peer


def _may_be_checked(story: Story, answer: Answer) -> bool:
    """Whether disagreement could climb at all: not from the last rung, nor what is streamed."""
    return (
        answer.verdict.accepted
        and len(story.answers) == 1
        and not (story.request.stream or story.is_compared or story.asks_no_more)
        and story.route.max_climbs > 0
        and answer.rung + 1 < len(story.rungs)
    )


def _must_be_checked(story: Story, answer: Answer) -> bool:
    return story.route.is_checked and answer.rung == 0


def _doubted(story: Story, answer: Answer, why: str) -> Answer:
    """The answer as it was; doubted where it is good only if another model says the same."""
    if not _must_be_checked(story, answer):
        return answer
    return story.checked(unchecked(answer.verdict, why))


def _text(body: bytes) -> str:
    choices = orjson.loads(body).get("choices") or [{}]
    return text_of((choices[0].get("message") or {}).get("content")).strip()
