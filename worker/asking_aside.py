"""Calls that answer no prompt: a model asked what a prompt is, or how good an answer is.

Both are attempts like any other, reserved and settled, tried once: where money or a provider is
missing the job goes on without. What they said is kept with their price: a crash buys none twice.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from shared.catalog.spec import Catalog, ModelSpec
from shared.deciding import classify_asked, rubric
from shared.deciding.estimation import demand_of, max_tokens_for, rough_cost_nusd
from shared.deciding.naming import mode_of
from shared.deciding.routing_policy import Rubric
from shared.domain.attempt import Purpose
from shared.domain.decisions import Classification, Mode, Verdict
from shared.domain.inference import Request, TaskType, text_of
from worker.answers import Answer
from worker.asking import Asking
from worker.metering import Meter
from worker.outcome import Answered
from worker.story import Story


class AskingAside:
    """Asks about prompts and answers; one object serves all jobs."""

    def __init__(self, catalog: Catalog, asking: Asking, meter: Meter) -> None:
        self._catalog = catalog
        self._asking = asking
        self._meter = meter

    async def classified(self, story: Story, earlier: Sequence[Any]) -> Classification | None:
        """What a model says a prompt is, where the classifier guesses; None where its guess stands.

        earlier: rows of attempts under former claims; what was paid for then is not asked again.
        """
        own, wish = story.classification, story.policy.classify_with
        if wish is None or not _is_guessed(story):
            return None
        for row in earlier:
            if row.purpose == Purpose.CLASSIFY:
                verdict = row.verdict or {}
                return classify_asked.label_of(verdict.get("said", ""), own, row.model)
        request = classify_asked.label_request(story.request)
        asked = await self._ask(story, wish, request, Purpose.CLASSIFY, 0)
        if asked is None:
            return None
        name, outcome = asked
        told = classify_asked.label_of(outcome.completion.text, own, name)
        if told is None:
            story.note(f"{name} was asked what it is and gave no label")
        verdict = {
            "accepted": told is not None,
            "score": 1.0 if told is not None else 0.0,
            "reasons": [] if told is None else [f"{told.task_type.value}, {told.difficulty:.2f}"],
            "judge": classify_asked.JUDGE,
        }
        if told is not None:
            said = {"task_type": told.task_type.value, "difficulty": round(told.difficulty, 4)}
            verdict["said"] = orjson.dumps(said).decode()
        await self._pay(story, outcome, verdict)
        return told

    async def graded(self, story: Story, answer: Answer, by: Rubric) -> Answer:
        """The answer, with another verdict where the rubric's judge gave one."""
        if not _may_be_graded(story, answer) or not rubric.is_graded(by, story.job.id):
            return answer
        if story.earlier_grade is not None:
            return story.graded(story.earlier_grade)
        body = orjson.loads(answer.body)
        choices = body.get("choices") or [{}]
        text = text_of((choices[0].get("message") or {}).get("content")).strip()
        request = rubric.grade_request(by, story.request, text)
        if not self._is_worth_it(story, answer, by, request):
            return answer
        if (closing := story.take_unpaid(keep_answer=True)) is not None:
            await self._meter.close(story.payer, closing)
        asked = await self._ask(story, by.judge, request, Purpose.JUDGE, answer.rung)
        if asked is None:
            return answer
        name, outcome = asked
        verdict = rubric.graded(outcome.completion.text, by, answer.verdict, name)
        if verdict is None:
            story.note(f"{name} was asked to grade the answer and gave no grade")
            none = Verdict(accepted=True, score=1.0, reasons=("no grade",), judge=rubric.JUDGE)
            await self._pay(story, outcome, none.to_dict() | {"of": answer.model})
            return answer
        after = story.graded(verdict)
        await self._pay(story, outcome, verdict.to_dict() | {"of": answer.model})
        return after

    def _is_worth_it(self, story: Story, answer: Answer, by: Rubric, request: Request) -> bool:
        """Whether a judge costs less than the climb it may order; a model that was named is asked
        whatever it costs.
        """
        if by.judge in self._catalog.models:
            return True
        judge = self._asker(story, by.judge, request)
        above = self._catalog.models.get(story.rungs[answer.rung + 1].models[0])
        if judge is None or above is None:
            return False
        demand = demand_of(request, TaskType.SIMPLE_QA)
        limit = max_tokens_for(story.request, story.demand, above, story.policy.default_max_tokens)
        if limit is None:
            return False
        price = rough_cost_nusd(demand, judge, request.max_tokens or rubric.ANSWER_TOKENS)
        return price < rough_cost_nusd(story.demand, above, limit)

    def _asker(self, story: Story, wish: str, request: Request) -> ModelSpec | None:
        demand = demand_of(request, TaskType.SIMPLE_QA)
        limit = request.max_tokens or classify_asked.ANSWER_TOKENS
        return classify_asked.asker_of(wish, demand, limit, self._catalog, story.policy)

    async def _ask(
        self, story: Story, wish: str, request: Request, purpose: Purpose, rung: int
    ) -> tuple[str, Answered] | None:
        """Who was asked, and the answer; None where there is none, whatever the reason."""
        model = None if story.asks_no_more else self._asker(story, wish, request)
        if model is None:
            return None
        outcome = await self._asking.aside(story, model.name, request, purpose, rung)
        if isinstance(outcome, Answered):
            return model.name, outcome
        story.note(f"{model.name} could not be asked to {purpose.value}")
        return None

    async def _pay(self, story: Story, outcome: Answered, verdict: dict[str, Any]) -> None:
        story.paid(outcome.closing)
        await self._meter.close(story.payer, outcome.closing._replace(verdict=verdict))


def _is_guessed(story: Story) -> bool:
    """Whether what the prompt is matters to its route and was not certain, and is not remembered
    with a route.
    """
    remembered = story.job.decision is not None and "route" in story.job.decision
    return (
        not remembered
        and story.request.embed is None
        and mode_of(story.request.model) in {Mode.AUTO, Mode.TIER, Mode.CHEAPEST}
        and story.classification.confidence < story.policy.classify_below
    )


def _may_be_graded(story: Story, answer: Answer) -> bool:
    """Whether a low grade could climb at all, and nothing else has judged what the answer says."""
    return (
        answer.verdict.accepted
        and len(story.answers) == 1
        and not (story.was_checked or story.was_graded)
        and not (story.request.stream or story.is_compared or story.asks_no_more)
        and story.route.max_climbs > 0
        and answer.rung + 1 < len(story.rungs)
    )
