"""A job's way through a worker as spans: the chunk that waited, the jobs of it that are traced,
their attempts in the words of OpenTelemetry's conventions for generative AI, and the recording.

Nothing here is made where tracing is off, and of a job that is not traced nothing but the question.
No attribute holds a prompt, an answer or a provider's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.domain.attempt import Purpose
from shared.domain.decisions import Classification, NoRoute, Route
from shared.domain.job import JobStatus, line_of, public_job_id
from shared.queue.messages import QUEUED_AT
from shared.tracing import TRACEPARENT, Attributes, Traced, Tracing
from worker.outcome import Answered, AttemptOutcome, Failed
from worker.providers.caller import PreparedCall
from worker.recording import Finish, Move, Park

_LADDER: Final = 500
"""The most characters of a ladder that are told."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a chunk's message carries of its trace: what it belongs to, and when it was sent in
    Unix nanoseconds, if that can be read.
    """

    tracing: Tracing
    traceparent: str
    queued_at_ns: int | None


def carried(tracing: Tracing | None, headers: Mapping[str, Any] | None) -> Carried | None:
    """From a message's headers; None of one that is not traced, or by a process that does not."""
    if tracing is None or not headers or not isinstance(parent := headers.get(TRACEPARENT), str):
        return None
    queued = headers.get(QUEUED_AT)
    return Carried(tracing, parent, queued if isinstance(queued, int) else None)


class ChunkTrace:
    """A chunk under one claim."""

    def __init__(self, carried: Carried, batch_id: str, *, whole: bool) -> None:
        """whole: every job of it is traced, because somebody waits for them."""
        self._tracing = tracing = carried.tracing
        self._whole = whole
        about: Attributes = {"promptmill.batch.id": batch_id}
        if carried.queued_at_ns is not None:
            waited = tracing.begin(
                "chunk queued", carried.traceparent, about, at_ns=carried.queued_at_ns
            )
            waited.end()
        self._span = tracing.begin("chunk", carried.traceparent, about, kind="consumer")

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
