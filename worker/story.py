"""A job's story while it runs: what was decided, every answer, what it cost, and how it ends.

Holds state for one job under one claim; `worker.result_rows` makes the row that tells of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from shared.db.repositories.attempts import Closing
from shared.db.repositories.duplicates import Family
from shared.db.repositories.job_claims import ClaimedJob
from shared.deciding.agreement import JUDGE
from shared.deciding.escalation import best_of
from shared.deciding.estimation import Demand
from shared.deciding.routing_policy import RoutingPolicy
from shared.deciding.rubric import JUDGE as RUBRIC
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.decisions import Classification, Mode, NoRoute, Route, Rung, Verdict
from shared.domain.inference import Request
from shared.webhooks.events import job_completed
from worker.answer_cache import Caching
from worker.answers import Answer, answer_of, check_of, milliseconds
from worker.outcome import Answered
from worker.recording import Event
from worker.reserving import Payer
from worker.speaking import Voice
from worker.tracing import JobTrace

MAX_UNCONFIRMED = 4
"""Calls of one job that may have been billed without an answer, deaths of workers among them. Each
is charged at its worst case, so a job that keeps losing its answers is given up."""


class Story:
    """What has happened to a job so far."""

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
        self.answers: list[Answer] = [answer for row in earlier if (answer := answer_of(row))]
        self.calls = len(earlier)
        self.notes: list[str] = []
        self.paid_nusd: int = sum(row.cost_nusd for row in earlier)
        self._uncertain: int = sum(row.status == AttemptStatus.UNCONFIRMED for row in earlier)
        self._unpaid: Answer | None = None
        self._check: Verdict | None = None
        self._earlier_check = check_of(earlier, JUDGE)
        self._earlier_grade = check_of(earlier, RUBRIC)
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
        self.paid_nusd += closing.cost_nusd
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
            body=b"%b" % orjson.dumps(body),  # copied: orjson's own have ten times their room
            finish_reason=completion.finish_reason.value,
            usage=completion.usage,
            verdict=verdict,
            latency_ms=milliseconds(intent.started_at, closing.ended_at),
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
            told["saved_nusd"] = spared - self.paid_nusd
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
