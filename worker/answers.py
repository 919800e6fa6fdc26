"""A job's answers, beside each other: of this claim, and those that former claims paid for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.db.repositories.attempts import Closing
from shared.domain.attempt import AttemptStatus
from shared.domain.decisions import Verdict
from shared.domain.inference import Usage
from shared.domain.values import made_often


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


def answer_of(row: Any) -> Answer | None:
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
        latency_ms=milliseconds(row.started_at, row.ended_at),
    )


def check_of(earlier: Sequence[Any], judge: str) -> Verdict | None:
    """What a call that was bought to judge the first answer said, under a former claim."""
    for row in earlier:
        verdict = row.verdict
        if verdict is not None and verdict["judge"] == judge:
            return Verdict(verdict["accepted"], verdict["score"], tuple(verdict["reasons"]), judge)
    return None


def milliseconds(start: datetime, end: datetime) -> int:
    """How long a call took, as rows say it."""
    return round((end - start).total_seconds() * 1000)
