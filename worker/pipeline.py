"""The order of the stages for one job, from top to bottom: the only place that combines them.

    (remember) → classify → route → (prepare → reserve, call, settle → judge → escalate)* → record

To judge may include buying a second cheap answer (`worker.agreeing`), where the project wants it.

Where the project keeps answers, a request that was answered before ends with that answer: it is
neither routed nor paid for. An answer that was accepted is kept once it is recorded.

Three kinds of "again" meet here and nowhere else: *retry* for an error on the same model,
*fallback* for a sick provider (the rung's next model, then the next rung), *escalation* for a weak
answer (at most the route's climbs). The best answer so far is kept, so whatever stops a climb
(money, a sick provider, a refusal) ends the job with what it has.

Every way out ends in one `Move`: the job finishes, is parked for want of money, or goes back to
the queue until a provider may be asked again. A job that somebody waits for on an open connection
fails where others are parked or go back. A streamed answer is told while it comes, so it is the
job's answer whatever the judge says: it is routed, and falls back before its first word, but it is
neither escalated nor asked for twice.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from shared.catalog.spec import Catalog
from shared.clock import utc_now
from shared.db.repositories.attempts import Closing
from shared.db.repositories.job_claims import ClaimedJob
from shared.db.repositories.jobs import CANCELLED_ERROR, EXPIRED_ERROR
from shared.deciding.classification.plugged import Classifiers
from shared.deciding.escalation import next_step
from shared.deciding.estimation import demand_of
from shared.deciding.judging import judge
from shared.deciding.prepared_routes import PreparedRoutes
from shared.deciding.routing import cheaper_rungs
from shared.domain.decisions import (
    UNCLASSIFIED,
    Accept,
    Classification,
    Climb,
    NextStep,
    NoRoute,
    Route,
)
from shared.domain.inference import Request
from shared.domain.job import JobStatus, line_of
from shared.domain.money import usd_from_nusd
from shared.webhooks.events import job_completed
from worker.agreeing import Agreeing
from worker.answer_cache import AnswerCache, KeptAnswer
from worker.answers import Answer
from worker.asking import Asking, Exhaustion
from worker.asking_aside import AskingAside
from worker.batch_context import BatchContext
from worker.figures import WorkerFigures
from worker.metering import Meter
from worker.outcome import Answered, Busy, ClaimLost, Failed, MoneyBusy, MoneyGone, MoneyTooSmall
from worker.providers.errors import AccountRefused, MaybeBilled, RequestRefused, Throttled
from worker.recording import Event, Finish, HandBack, Move, Park
from worker.reserving import Payer
from worker.result_rows import (
    completed_row,
    failed_row,
    kept_answer,
    remembered_row,
    unanswered_row,
)
from worker.speaking import Speaker, Voice
from worker.story import Story
from worker.tracing import JobTrace
from worker.unanswered import SICK_RETRY_S, SOON_S, in_words, is_sick, turned_away, used_up

log = structlog.get_logger(__name__)

_LONGEST_AHEAD = 16_384  # characters of a request that waits taken apart beside its stored form


class Pipeline:
    """Runs one job at a time to its next resting place; one object serves all jobs."""

    def __init__(
        self,
        catalog: Catalog,
        classifiers: Classifiers,
        asking: Asking,
        meter: Meter,
        speaker: Speaker,
        cache: AnswerCache,
        figures: WorkerFigures,
        *,
        patience_s: float,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._catalog = catalog
        self._strongest = catalog.strongest
        self._routes = PreparedRoutes(catalog)
        self._classifiers = classifiers
        self._asking = asking
        self._agreeing = Agreeing(catalog, asking, meter)
        self._aside = AskingAside(catalog, asking, meter)
        self._meter = meter
        self._speaker = speaker
        self._cache = cache
        self._figures = figures
        self._patience_s = patience_s
        self._clock = clock

    def decide_ahead(
        self, job: ClaimedJob, batch: BatchContext, earlier: Sequence[Any]
    ) -> Story | None:
        """Classify and route before it is the job's turn; None where that may turn out to be for
        nothing, or hold much memory, or fails (which it does again, and is told, in its turn).

        For many jobs one after the other: what classification takes from memory is then at hand for
        all but the first, which saves a worker a tenth of its time.
        """
        if batch.caching is not None or len(job.request) > _LONGEST_AHEAD:
            return None
        try:
            return self._begin(job, Request.from_json(job.request), batch, earlier)
        except Exception:  # noqa: BLE001 - whatever it is, it must not take other jobs with it
            return None

    async def run(
        self,
        job: ClaimedJob,
        batch: BatchContext,
        earlier: Sequence[Any],
        trace: JobTrace | None = None,
        story: Story | None = None,
    ) -> None:
        """Take the job to its end, or park it, or hand it back.

        earlier: rows of the attempts made under former claims; an answer among them is not bought
        again. trace: told of all that happens. story: its beginning, where `decide_ahead` made it.
        """
        if story is None:
            request = Request.from_json(job.request)
            key = self._key_of(request, job, batch)
            if key is not None and (kept := await self._cache.find(key)) is not None:
                await self._remember(job, batch, earlier, kept, trace)
                return
            story = self._begin(job, request, batch, earlier)
            story.kept_as = key
        if story.policy.classify_with is not None:
            await self._name_guessed(story, earlier)
        self._tell(trace, story)
        if isinstance(story.routed, NoRoute):
            await self._fail(story, story.routed.code, story.routed.message)
            return
        answer = story.answers[-1] if story.answers else None
        rung = answer.rung if answer else 0
        while True:
            if answer is None:
                reached, outcome = await self._ask_from(story, rung)
                if not isinstance(outcome, Answered):
                    await self._stop(story, outcome)
                    return
                answer = self._weigh(story, reached, outcome)
            if story.policy.agreement or story.policy.rubric is not None:
                answer = await self._judge_further(story, answer)
            step = self._next_step(story, answer)
            if isinstance(step, Accept):
                await self._finish(story, step.reason)
                return
            await self._pay_for(story, step.reason)
            self._count_climb(story, answer, step)
            rung, answer = step.rung, None

    async def hand_back(self, job: ClaimedJob, reason: str) -> None:
        """Give the job up unpaid, as it was."""
        move = HandBack(None, reason, job.waiting_since, job.decision)
        await self._meter.close(Payer(job.id, job.claim_token, "", ""), move=move)

    async def call_off(self, job: ClaimedJob, earlier: Sequence[Any], end: JobStatus) -> None:
        """End a job whose batch was cancelled or expired before its call."""
        error = CANCELLED_ERROR if end is JobStatus.CANCELLED else EXPIRED_ERROR
        row = unanswered_row(job.id, earlier, error, self._clock(), end)
        await self._meter.close(Payer(job.id, job.claim_token, "", ""), move=Finish(row))

    # The stages ---------------------------------------------------------------------------------

    def _key_of(self, request: Request, job: ClaimedJob, batch: BatchContext) -> str | None:
        """Where the project may have the answer to this request, or is to keep it."""
        if batch.caching is None:
            return None
        return self._cache.key(batch.caching, batch.policy_for(job), request)

    async def _remember(
        self,
        job: ClaimedJob,
        batch: BatchContext,
        earlier: Sequence[Any],
        kept: KeptAnswer,
        trace: JobTrace | None,
    ) -> None:
        """End a job with an answer that the project has paid for before."""
        row = remembered_row(job.id, earlier, kept, self._clock())
        payer = Payer(job.id, job.claim_token, batch.project_id, batch.id)
        events: tuple[Event, ...] = ()
        if batch.announces_jobs:
            subject = job_completed(job.id, batch.id, job.custom_id)
            events = (Event(batch.project_id, "job.completed", subject),)
        end = Finish(row, batch.family)
        await self._close(payer, None, trace, end, events, self._voice(job, batch))

    def _begin(
        self, job: ClaimedJob, request: Request, batch: BatchContext, earlier: Sequence[Any]
    ) -> Story:
        """Classify and route, once per job: a job that ran before remembers both."""
        # A counter in Redis for each chat without a cap would cost more than it could ever refuse.
        draws = batch.is_capped or not batch.is_awaited
        policy = batch.policy_for(job)
        if job.decision is not None and "route" in job.decision:
            classification = Classification.from_dict(job.decision["classification"])
            routed: Route | NoRoute | None = Route.from_dict(job.decision["route"])
        else:
            routed = None
            classification = UNCLASSIFIED
            if request.embed is None:
                classification = self._classifiers.of(batch.project_id).classify(request)
        demand = demand_of(request, classification.task_type)
        if routed is None:
            routed = self._routes.route(request, classification, policy, demand)
        payer = Payer(
            job.id,
            job.claim_token,
            batch.project_id,
            batch.id,
            draws,
            batch.key_id,
            "" if request.embed is not None else classification.task_type.value,
        )
        story = Story(job, payer, request, classification, demand, routed, policy, earlier)
        if batch.trial is not None and (arm := batch.arm_of(job)) is not None:
            story.trial = {"name": batch.trial.name, "arm": arm.value}
        story.is_announced = batch.announces_jobs
        story.family = batch.family
        story.caching = batch.caching
        story.voice = self._voice(job, batch)
        return story

    async def _name_guessed(self, story: Story, earlier: Sequence[Any]) -> None:
        """Route by what a model says the prompt is, where the classifier only guessed."""
        told = await self._aside.classified(story, earlier)
        if told is not None:
            demand = demand_of(story.request, told.task_type)
            routed = self._routes.route(story.request, told, story.policy, demand)
            story.named(told, demand, routed)

    @staticmethod
    def _tell(trace: JobTrace | None, story: Story) -> None:
        if trace is not None:
            story.trace = trace
            trace.decided(story.classification, story.routed)

    async def _judge_further(self, story: Story, answer: Answer) -> Answer:
        """What the checks accepted, as a second answer or the rubric's judge sees it."""
        if story.policy.agreement:
            answer = await self._agreeing.checked(story, answer)
        if story.policy.rubric is not None:
            answer = await self._aside.graded(story, answer, story.policy.rubric)
        return answer

    def _voice(self, job: ClaimedJob, batch: BatchContext) -> Voice | None:
        if not batch.is_awaited:
            return None
        return self._speaker.voice(batch.id, line_of(job.id), job.claim_token[:8])

    def _next_step(self, story: Story, answer: Answer) -> NextStep:
        if story.request.stream:
            return Accept("streamed: what was told cannot be replaced by a stronger answer")
        if story.is_compared and answer.rung + 1 < len(story.rungs):
            return Climb(answer.rung + 1, "the pilot asks every tier")
        return next_step(story.route, answer.rung, story.climbs, answer.verdict)

    async def _ask_from(self, story: Story, rung: int) -> tuple[int, Answered | Exhaustion]:
        """An answer from this rung, or from the next one whose provider is well.

        A rung that is only at its limits is waited for: climbing for that would cost more.
        """
        rungs = story.rungs
        while True:
            outcome = await self._asking.ask(story, rungs[rung], rung)
            if isinstance(outcome, MoneyGone | MoneyTooSmall):
                return await self._ask_below(story, rung, outcome)
            if not is_sick(outcome) or story.asks_no_more or rung + 1 >= len(rungs):
                return rung, outcome
            rung += 1
            story.note(f"fell back to the {rungs[rung].tier.value} tier")

    async def _ask_below(
        self, story: Story, rung: int, refused: MoneyGone | MoneyTooSmall
    ) -> tuple[int, Answered | Exhaustion]:
        """A cheaper rung's answer, where the project prefers that to waiting for money."""
        if not story.policy.allow_downgrade or story.answers:
            return rung, refused
        for cheaper in cheaper_rungs(story.route, self._catalog):
            outcome = await self._asking.ask(story, cheaper, rung)
            if isinstance(outcome, Answered):
                story.note(f"the budget carried only the {cheaper.tier.value} tier")
                return rung, outcome
        return rung, refused

    def _weigh(self, story: Story, rung: int, answered: Answered) -> Answer:
        """Judge an answer and put it beside the others."""
        verdict = judge(story.request, answered.completion, story.classification.task_type)
        return story.add_answer(rung, answered, verdict)

    async def _pay_for(self, story: Story, reason: str) -> None:
        """Pay for a weak answer and keep it with its price, so that a crash buys it only once."""
        story.note(reason)
        closing = story.take_unpaid(keep_answer=True)
        if closing is not None:
            await self._close(story.payer, closing, story.trace)

    def _count_climb(self, story: Story, answer: Answer, step: Climb) -> None:
        if not story.is_compared:  # a pilot asks every tier: that is no escalation
            self._figures.climbed(answer.tier, story.rungs[step.rung].tier.value)

    # The ways out -------------------------------------------------------------------------------

    async def _finish(self, story: Story, reason: str) -> None:
        """The best answer is the job's result; its price and the job's end are one transaction."""
        row = completed_row(story, reason, self._strongest, self._clock())
        await self._end(story, story.take_unpaid(), Finish(row, story.family))
        if story.kept_as is not None and story.caching is not None and story.is_worth_keeping:
            self._cache.keep(story.kept_as, kept_answer(row), story.caching.ttl_s)

    async def _fail(self, story: Story, code: str, message: str, **details: Any) -> None:
        row = failed_row(story, {"code": code, "message": message, **details}, self._clock())
        await self._end(story, None, Finish(row, story.family))

    async def _end(self, story: Story, closing: Closing | None, move: Move) -> None:
        events = story.events() if isinstance(move, Finish) else ()
        if not await self._close(story.payer, closing, story.trace, move, events, story.voice):
            log.info("another worker has the job by now")

    async def _close(
        self,
        payer: Payer,
        closing: Closing | None,
        trace: JobTrace | None,
        move: Move | None = None,
        events: tuple[Event, ...] = (),
        voice: Voice | None = None,
    ) -> bool:
        """The meter's `close`, timed where the job is traced; the voice tells of its end."""
        tell = None
        if voice is not None and isinstance(move, Finish):
            tell = partial(voice.finish, move.row)
        if trace is None:
            return await self._meter.close(payer, closing, move=move, events=events, tell=tell)
        recording = trace.recording(move)
        held = await self._meter.close(payer, closing, move=move, events=events, tell=tell)
        recording.end(failed_by="claim_lost" if move is not None and not held else None)
        return held

    async def _stop(self, story: Story, why: Exhaustion) -> None:
        """No answer from here: end with the best so far, wait, or fail."""
        if isinstance(why, ClaimLost):
            log.info("another worker has the job by now")
        elif story.answers:
            await self._finish(story, f"kept: no stronger answer ({in_words(why)})")
        elif story.voice is not None and (end := turned_away(why)) is not None:
            await self._fail(story, **end)
        else:
            await self._wait_or_fail(story, why)

    async def _wait_or_fail(self, story: Story, why: Exhaustion) -> None:
        match why:
            case MoneyGone(scope, need):
                park = Park(scope.text, need, used_up(why), story.decision())
                await self._end(story, None, park)
            case MoneyTooSmall(scope, need, limit):
                message = (
                    f"The worst case of this request, {usd_from_nusd(need)} USD, is more than the "
                    f"whole limit of {scope.text}, {usd_from_nusd(limit)} USD. Raise the limit or "
                    "lower max_tokens, then retry."
                )
                figures = {"scope": scope.text, "need_nusd": need, "limit_nusd": limit}
                await self._fail(story, "budget_exceeded", message, **figures)
            case MoneyBusy(reason):
                await self._wait(story, SOON_S, reason, sick=False)
            case Busy(retry_in_s, reason):
                await self._wait(story, retry_in_s, reason, sick=why.down)
            case Failed():
                await self._after_errors(story, why)
            case ClaimLost():
                pass

    async def _after_errors(self, story: Story, failed: Failed) -> None:
        error = failed.error
        if isinstance(error, RequestRefused | MaybeBilled):
            await self._fail(story, error.kind, error.message, **_status(error.status))
        else:
            pause = max(error.retry_after_s or 0.0, SICK_RETRY_S)
            sick = not isinstance(error, Throttled | AccountRefused)
            await self._wait(story, pause, f"{error.kind}: {error.message}", sick=sick)

    async def _wait(self, story: Story, seconds: float, reason: str, *, sick: bool) -> None:
        """Back to the queue for a while; a job that waited too long for the sick fails."""
        now = self._clock()
        since = (story.job.waiting_since or now) if sick else None
        if since is not None and (now - since).total_seconds() > self._patience_s:
            message = f"No provider could be asked for {self._patience_s:.0f} s: {reason}"
            await self._fail(story, "provider_unavailable", message)
            return
        run_after = now + timedelta(seconds=max(seconds, 0.1))
        await self._end(story, None, HandBack(run_after, reason, since, story.decision()))


def _status(status: int | None) -> Mapping[str, int]:
    return {} if status is None else {"status": status}
