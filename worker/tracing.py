"""A job's way through a worker as spans: the chunk that waited, the jobs of it that are traced,
their attempts in the words of OpenTelemetry's conventions for generative AI, and the recording.

Nothing here is made where tracing is off, and of a job that is not traced nothing but the question.
No attribute holds a prompt, an answer or a provider's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import time_ns
from typing import Any, Final

from shared.domain.attempt import Purpose
from shared.domain.decisions import Classification, NoRoute, Route
from shared.domain.job import JobStatus, line_of, public_job_id
from shared.queue.messages import QUEUED_AT
from shared.tracing import TRACEPARENT, Attributes, Traced, Tracing
from worker.figures import WorkerFigures
from worker.outcome import Answered, AttemptOutcome, Failed
from worker.providers.prepared_call import PreparedCall
from worker.recording import Finish, Move, Park

_LADDER: Final = 500
"""The most characters of a ladder that are told."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a chunk's message tells beside its jobs: when it was sent, in Unix nanoseconds, and the
    trace it belongs to; each None where it does not say, or nobody here asks.
    """

    queued_at_ns: int | None
    traceparent: str | None
    tracing: Tracing | None
    figures: WorkerFigures

    def claimed(self, batch_id: str, *, is_awaited: bool) -> "ChunkTrace | None":
        """Its jobs are in hand now: note how long it waited, and begin its span if it has one. To
        be called in the loop.
        """
        if self.queued_at_ns is not None:
            waited_s = (time_ns() - self.queued_at_ns) / 1e9
            self.figures.waited(max(0.0, waited_s), is_awaited=is_awaited)
        if self.tracing is None or self.traceparent is None:
            return None
        about: Attributes = {"promptmill.batch.id": batch_id}
        if self.queued_at_ns is not None:
            waiting = self.tracing.begin(
                "chunk queued", self.traceparent, about, at_ns=self.queued_at_ns
            )
            waiting.end()
        span = self.tracing.begin("chunk", self.traceparent, about, kind="consumer")
        return ChunkTrace(self.tracing, span, whole=is_awaited)


def carried(
    headers: Mapping[str, Any] | None, tracing: Tracing | None, figures: WorkerFigures
) -> Carried:
    """From a message's headers, which may be anybody's."""
    queued, parent = ((headers or {}).get(name) for name in (QUEUED_AT, TRACEPARENT))
    return Carried(
        queued if isinstance(queued, int) else None,
        parent if isinstance(parent, str) else None,
        tracing,
        figures,
    )


class ChunkTrace:
    """A chunk under one claim."""

    def __init__(self, tracing: Tracing, span: Traced, *, whole: bool) -> None:
        """whole: every job of it is traced, because somebody waits for them."""
        self._tracing = tracing
        self._span = span
        self._whole = whole

    def job(self, job_id: int) -> "JobTrace | None":
        """One job of it; None where it is not traced."""
        line = line_of(job_id)
        if not self._span.is_recorded or not (self._whole or self._tracing.takes(line)):
            return None
        about: Attributes = {
            "promptmill.job.id": public_job_id(job_id),
            "promptmill.job.line": line,
        }
        return JobTrace(self._tracing, self._span.child("job", about))

    def end(self, jobs: int) -> None:
        """Its jobs, so many of them, are durable."""
        self._span.tell({"promptmill.chunk.jobs": jobs})
        self._span.end()


class JobTrace:
    """A job that is traced."""

    def __init__(self, tracing: Tracing, span: Traced) -> None:
        self._tracing = tracing
        self._span = span
        self._failed_by: str | None = None

    def decided(self, classification: Classification, routed: Route | NoRoute) -> None:
        """What it was taken for, and where it goes."""
        self._span.tell(
            {
                "promptmill.task_type": classification.task_type.value,
                "promptmill.difficulty": round(classification.difficulty, 4),
                "promptmill.level": classification.level.value,
                "promptmill.confidence": round(classification.confidence, 4),
                "promptmill.classified_by": classification.source,
            }
        )
        if isinstance(routed, Route):
            ladder = " > ".join(",".join(rung.models) for rung in routed.rungs)
            mode, ladder = routed.mode.value, ladder[:_LADDER]
            self._span.tell({"promptmill.route.mode": mode, "promptmill.route.ladder": ladder})

    def attempt(
        self, prepared: PreparedCall, ordinal: int, rung: int, purpose: Purpose
    ) -> "AttemptTrace":
        """A call that is to be made, from the wait for leave to it on."""
        model = prepared.model
        asked = "embeddings" if prepared.encoded.vectors else "chat"
        span = self._span.child(
            f"{asked} {model.upstream}",
            {
                "gen_ai.operation.name": asked,
                "gen_ai.provider.name": prepared.provider.name,
                "gen_ai.request.model": model.upstream,
                "gen_ai.request.max_tokens": prepared.max_output_tokens or None,
                "promptmill.model": model.name,
                "promptmill.tier": model.tier.value,
                "promptmill.attempt.ordinal": ordinal,
                "promptmill.attempt.rung": rung,
                "promptmill.attempt.purpose": purpose.value,
                "promptmill.worst_case_nusd": prepared.worst_case_nusd,
            },
            kind="client",
        )
        return AttemptTrace(span, carries=self._tracing.is_sent_to(prepared.provider.name))

    def recording(self, move: Move | None) -> Traced:
        """What is decided of it is written from here on; to be ended when it is durable."""
        if isinstance(move, Finish):
            self._finish(move)
        elif move is not None:
            self._span.tell(
                {"promptmill.job.status": "held" if isinstance(move, Park) else "queued"}
            )
        return self._span.child("record")

    def _finish(self, move: Finish) -> None:
        row = move.row
        self._span.tell(
            {
                "promptmill.job.status": row["status"],
                "promptmill.job.attempts": row["attempts"],
                "promptmill.job.climbs": row["climbs"],
                "promptmill.job.cached": row["cached"],
                "promptmill.model": row["model"],
                "promptmill.tier": row["tier"],
                "promptmill.cost_nusd": row["cost_nusd"],
            }
        )
        if row["status"] == JobStatus.FAILED.value:
            self._failed_by = (row["error"] or {}).get("code") or "failed"

    def end(self) -> None:
        """It has come to its next resting place."""
        self._span.end(failed_by=self._failed_by)


class AttemptTrace:
    """One call of a job that is traced."""

    def __init__(self, span: Traced, *, carries: bool) -> None:
        self._span = span
        self._carries = carries

    def carried_by(self, prepared: PreparedCall) -> PreparedCall:
        """The call, telling its provider of the trace where that is wanted."""
        if not self._carries:
            return prepared
        return replace(prepared, carried={TRACEPARENT: self._span.traceparent})

    def sent(self) -> None:
        """It leaves now: admitted, reserved for, and its intent durable."""
        self._span.note("sent")

    def ended(self, outcome: AttemptOutcome) -> None:
        """What became of it, with its price."""
        if not isinstance(outcome, Answered | Failed):
            self._span.tell({"promptmill.outcome": f"not made: {type(outcome).__name__}"})
            self._span.end()
            return
        closing = outcome.closing
        failed = isinstance(outcome, Failed)
        self._span.tell(
            {
                "gen_ai.usage.input_tokens": closing.input_tokens,
                "gen_ai.usage.output_tokens": closing.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": closing.cached_tokens or None,
                "promptmill.finish_reason": closing.finish_reason,
                "promptmill.attempt.id": closing.intent.id,
                "promptmill.attempt.status": closing.status.value,
                "promptmill.cost_nusd": closing.cost_nusd,
                "promptmill.outcome": closing.error_kind if failed else "answered",
            }
        )
        self._span.end(failed_by=closing.error_kind if failed else None)
