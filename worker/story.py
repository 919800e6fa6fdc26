"""A job's story while it runs: what was decided, every answer, what it cost, and how it ends.

Holds state for one job under one claim; the rows it makes are what `results` and the API show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import ModelSpec
from shared.db.repositories.attempts import Closing
from shared.db.repositories.duplicates import Family
from shared.db.repositories.job_claims import ClaimedJob
from shared.deciding.agreement import JUDGE
from shared.deciding.constraints import RoutingPolicy
from shared.deciding.escalation import best_of
from shared.deciding.estimation import Demand
from shared.deciding.rubric import JUDGE as RUBRIC
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.decisions import Classification, Mode, NoRoute, Route, Rung, Verdict
from shared.domain.inference import Request, Usage
from shared.domain.job import JobStatus, public_job_id
from shared.domain.values import made_often
from shared.webhooks.events import job_completed
from worker.answer_cache import Caching, KeptAnswer
from worker.metering import Payer
from worker.outcome import Answered
from worker.recording import Event
from worker.speaking import Voice
from worker.tracing import JobTrace

MAX_UNCONFIRMED = 4
"""Calls of one job that may have been billed without an answer, deaths of workers among them. Each
is charged at its worst case, so a job that keeps losing its answers is given up."""


@made_often(frozen=True, slots=True)
class Answer:
    """One answer and what the judge said of it.

    closing: its price, until that is written; None for an answer of a former claim.
    """

    rung: int
    model: str
    provider: str
    tier: str
    body: bytes
    finish_reason: str
    usage: Usage
    verdict: Verdict
    latency_ms: int
    closing: Closing | None = None


class Story:
    """What has happened to a job so far, and the rows that will tell of it."""

    def __init__(
        self,
        job: ClaimedJob,
        payer: Payer,
        request: Request,
        classification: Classification,
        demand: Demand,
        routed: Route | NoRoute,
        policy: RoutingPolicy,
        earlier: Sequence[Any] = (),
    ) -> None:
        self.job = job
        self.payer = payer
        self.request = request
        self.classification = classification
        self.routed = routed
        self.policy = policy
        self.demand = demand
        self.answers: list[Answer] = [answer for row in earlier if (answer := _answer_of(row))]
        self.calls = len(earlier)
        self.notes: list[str] = []
        self._paid_nusd = sum(row.cost_nusd for row in earlier)
        self._uncertain: int = sum(row.status == AttemptStatus.UNCONFIRMED for row in earlier)
        self._unpaid: Answer | None = None
        self._check: Verdict | None = None
        self._earlier_check = _check_of(earlier, JUDGE)
        self._earlier_grade = _check_of(earlier, RUBRIC)
        self.was_graded = False
        self.trial: Mapping[str, str] | None = None
        self.is_announced = False
        self.family: Family | None = None
        self.caching: Caching | None = None
        self.kept_as: str | None = None
        self.voice: Voice | None = None
        self.trace: JobTrace | None = None

    @property
    def route(self) -> Route:
        """The route, of a story that has one."""
        if isinstance(self.routed, NoRoute):
            raise TypeError("this story has no route")
        return self.routed

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The ladder."""
        return self.route.rungs

    @property
    def is_compared(self) -> bool:
        """Whether it is a line of a pilot: every tier is asked, whatever the judge says."""
        piloting = self.policy.piloting
        if piloting is None or not piloting.asks_all or isinstance(self.routed, NoRoute):
            return False
        return self.routed.mode is Mode.AUTO

    def purpose_of(self, rung: int) -> Purpose:
        """What a call of this rung is for: a pilot's calls below the strongest only compare."""
        if self.is_compared and rung + 1 < len(self.rungs):
            return Purpose.JUDGE
        return Purpose.ANSWER

    @property
    def climbs(self) -> int:
        """How often a weak answer was followed by a stronger model's."""
        return 0 if self.is_compared else max(0, len(self.answers) - 1)

    def next_ordinal(self) -> int:
        """The number of the attempt about to be made, from 1."""
        self.calls += 1
        return self.calls

    def not_made(self) -> None:
        """The attempt that was to be made was not: its number is free again."""
        self.calls -= 1

    def paid(self, closing: Closing) -> None:
        """Count a price."""
        self._paid_nusd += closing.cost_nusd
        self._uncertain += closing.status is AttemptStatus.UNCONFIRMED

    @property
    def asks_no_more(self) -> bool:
        """Whether no further call is made: so many may have been billed for nothing, or a part of
        an answer was told and cannot be taken back, or nobody waits any more.
        """
        return self._uncertain >= MAX_UNCONFIRMED or self.cannot_repeat

    @property
    def cannot_repeat(self) -> bool:
        """Whether a failed call is the last word because of whoever reads along."""
        return self.voice is not None and (self.voice.has_spoken or self.voice.is_gone)

    def listener_to(self, model: str) -> Voice | None:
        """Who reads along when this model is asked, if the answer is streamed."""
        if self.voice is None or not self.request.stream:
            return None
        self.voice.begin(model)
        return self.voice

    def note(self, what: str) -> None:
        """Remember something for whoever reads the decision later."""
        self.notes.append(what)

    def add_answer(self, rung: int, answered: Answered, verdict: Verdict) -> Answer:
        """Put a judged answer beside the others and count its price."""
        completion, closing = answered.completion, answered.closing
        intent = closing.intent
        body = completion.body
        if "model" in body and not body["model"]:  # a wire whose answers do not name it
            body = {**body, "model": intent.model}
        answer = Answer(
            rung=rung,
            model=intent.model,
            provider=intent.provider,
            tier=intent.tier,
            body=orjson.dumps(body),
            finish_reason=completion.finish_reason.value,
            usage=completion.usage,
            verdict=verdict,
            latency_ms=_milliseconds(intent.started_at, closing.ended_at),
            closing=closing._replace(verdict=verdict.to_dict()),
        )
        self.answers.append(answer)
        self.paid(closing)
        self._unpaid = answer
        return answer

    @property
    def was_checked(self) -> bool:
        """Whether another answer was bought to check its own by."""
        return self._check is not None

    def checked(self, verdict: Verdict) -> Answer:
        """The latest answer with the verdict that another one beside it gave."""
        answer = replace(self.answers[-1], verdict=verdict)
        self.answers[-1] = answer
        self._check = verdict
        return answer

    def paid_check(self, closing: Closing, verdict: Verdict, spared_nusd: int = 0) -> Closing:
        """Count what that other answer cost; its price is to be written now, without its text.

        spared_nusd: what the model that the job would have started with would have cost; kept with
        the check where it started lower.
        """
        self.paid(closing)
        told = verdict.to_dict() | {"of": self.answers[-1].model}
        if spared_nusd:
            spared = spared_nusd if verdict.accepted else 0
            told["saved_nusd"] = spared - self._paid_nusd
        return closing._replace(verdict=told)

    @property
    def earlier_check(self) -> Verdict | None:
        """The verdict by agreement that a former claim bought."""
        return self._earlier_check

    @property
    def earlier_grade(self) -> Verdict | None:
        """The verdict by the project's rubric that a former claim bought."""
        return self._earlier_grade

    def graded(self, verdict: Verdict) -> Answer:
        """The latest answer with the verdict that the rubric's judge gave."""
        answer = replace(self.answers[-1], verdict=verdict)
        self.answers[-1] = answer
        self.was_graded = True
        return answer

    def named(self, told: Classification, demand: Demand, routed: Route | NoRoute) -> None:
        """Go by what a model said the prompt is."""
        self.classification, self.demand, self.routed = told, demand, routed
        self.payer = replace(self.payer, task_type=told.task_type.value)

    def take_unpaid(self, *, keep_answer: bool = False) -> Closing | None:
        """The price of the latest answer, to be written now; None when it has been written.

        keep_answer: with the answer itself, because it is not the job's last word.
        """
        answer, self._unpaid = self._unpaid, None
        if answer is None or answer.closing is None:
            return None
        if not keep_answer:
            return answer.closing
        return answer.closing._replace(answer=answer.body.decode())

    def best(self) -> Answer:
        """The best answer so far; the stronger model's of two equals."""
        return self.answers[best_of([answer.verdict for answer in self.answers])]

    @property
    def is_worth_keeping(self) -> bool:
        """Whether its answer does for whoever asks the same: one that was accepted, of a model
        that was routed to (a cheaper one, for want of money, would not be asked next time).
        """
        best = self.best()
        return best.verdict.accepted and any(best.model in rung.models for rung in self.rungs)

    def decision(self) -> dict[str, Any]:
        """Classification, route and notes: the form that is stored, shown, and remembered."""
        decision: dict[str, Any] = {"classification": self.classification.to_dict()}
        if isinstance(self.routed, Route):
            decision["route"] = self.routed.to_dict()
        else:
            decision["no_route"] = {"code": self.routed.code, "message": self.routed.message}
        if self.trial is not None:
            decision["trial"] = dict(self.trial)
        if self.notes:
            decision["notes"] = list(self.notes)
        return decision

    def events(self) -> tuple[Event, ...]:
        """What is announced together with the job's end: its answer, where somebody asked."""
        if not self.is_announced or not self.answers:
            return ()
        subject = job_completed(self.job.id, self.payer.batch_id, self.job.custom_id)
        return (Event(self.payer.project_id, "job.completed", subject),)

    # The rows -----------------------------------------------------------------------------------

    def result_row(self, reason: str, strongest: ModelSpec | None, now: datetime) -> dict[str, Any]:
        """The row in `results` of a job that has its answer: the best one."""
        self.note(reason)
        best = self.best()
        return {
            **self._common_row(now),
            "status": JobStatus.COMPLETED.value,
            "model": best.model,
            "provider": best.provider,
            "tier": best.tier,
            "finish_reason": best.finish_reason,
            "rescued": best.verdict.accepted and not self.answers[0].verdict.accepted,
            "strongest_nusd": self._strongest_nusd(strongest, best.usage),
            "latency_ms": best.latency_ms,
            "body": best.body.decode(),
        }

    def _strongest_nusd(self, strongest: ModelSpec | None, usage: Usage) -> int:
        """What the strongest model alone would have cost; embeddings are never asked of it."""
        if self.request.embed is not None:
            return int(self._paid_nusd)
        return cost_nusd(strongest.price, usage) if strongest else 0

    def error_row(self, error: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """The row in `results` of a job that fails."""
        return {
            **self._common_row(now),
            "status": JobStatus.FAILED.value,
            "error": dict(error),
        }

    def _kind(self) -> dict[str, Any]:
        """What kind of prompt it was; embeddings are of none."""
        if self.request.embed is not None:
            return {}
        return {
            "task_type": self.classification.task_type.value,
            "difficulty": round(self.classification.difficulty * 1000),
        }

    def _common_row(self, now: datetime) -> dict[str, Any]:
        return {
            **_BLANK_ROW,
            "job_id": self.job.id,
            **self._kind(),
            "attempts": self.calls,
            "climbs": self.climbs,
            "cost_nusd": self._paid_nusd,
            "decision": self.decision(),
            "ended_at": now,
        }


# All rows of one statement name the same columns.
_BLANK_ROW: Mapping[str, Any] = {
    **dict.fromkeys(
        ("model", "provider", "tier", "task_type", "difficulty", "finish_reason", "latency_ms")
    ),
    **dict.fromkeys(("body", "error", "decision")),
    "climbs": 0,
    "rescued": False,
    "cached": False,
    "saved_nusd": 0,
    "strongest_nusd": 0,
}


def unanswered_row(
    job_id: int, earlier: Sequence[Any], error: Mapping[str, Any], now: datetime, end: JobStatus
) -> dict[str, Any]:
    """The row in `results` of a job that ends before it was even decided on."""
    return {
        **_BLANK_ROW,
        "job_id": job_id,
        "status": end.value,
        "attempts": len(earlier),
        "cost_nusd": sum(row.cost_nusd for row in earlier),
        "error": dict(error),
        "ended_at": now,
    }


_KEPT: Final = (
    "model", "provider", "tier", "task_type", "difficulty", "finish_reason", "strongest_nusd",
    "body",
)  # fmt: skip


def kept_answer(row: Mapping[str, Any]) -> KeptAnswer:
    """What a project's cache keeps of a row of `results`."""
    kept = {name: row[name] for name in _KEPT}
    kept["classification"] = row["decision"]["classification"]
    return KeptAnswer(kept, public_job_id(row["job_id"]), row["cost_nusd"])


def remembered_row(
    job_id: int, earlier: Sequence[Any], kept: KeptAnswer, now: datetime
) -> dict[str, Any]:
    """The row in `results` of a job that ends with an answer of the project's cache."""
    return {
        **_BLANK_ROW,
        **{name: kept.row[name] for name in _KEPT},
        "job_id": job_id,
        "status": JobStatus.COMPLETED.value,
        "attempts": len(earlier),
        "cost_nusd": sum(row.cost_nusd for row in earlier),
        "cached": True,
        "saved_nusd": kept.saved_nusd,
        "decision": {
            "classification": kept.row["classification"],
            "notes": [f"answered from the cache: {kept.job} asked the same"],
        },
        "ended_at": now,
    }


def _answer_of(row: Any) -> Answer | None:
    """An earlier attempt's answer, from its row; None where it has none worth keeping."""
    if row.status != AttemptStatus.BILLED or row.answer is None or row.verdict is None:
        return None
    verdict = row.verdict
    return Answer(
        rung=row.rung,
        model=row.model,
        provider=row.provider,
        tier=row.tier,
        body=row.answer.encode(),
        finish_reason=row.finish_reason,
        usage=Usage(
            input_tokens=row.input_tokens - row.cached_tokens - row.cache_write_tokens,
            cached_tokens=row.cached_tokens,
            cache_write_tokens=row.cache_write_tokens,
            output_tokens=row.output_tokens,
            reasoning_tokens=row.reasoning_tokens,
        ),
        verdict=Verdict(
            verdict["accepted"], verdict["score"], tuple(verdict["reasons"]), verdict["judge"]
        ),
        latency_ms=_milliseconds(row.started_at, row.ended_at),
    )


def _check_of(earlier: Sequence[Any], judge: str) -> Verdict | None:
    """What a call that was bought to judge the first answer said, under a former claim."""
    for row in earlier:
        verdict = row.verdict
        if verdict is not None and verdict["judge"] == judge:
            return Verdict(verdict["accepted"], verdict["score"], tuple(verdict["reasons"]), judge)
    return None


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
