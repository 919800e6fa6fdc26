"""Ends jobs as the worker would, through the repositories' own verbs."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from producer.bootstrap import ProducerContext
from shared.db.repositories import attempts, batch_moves, batches, job_claims
from shared.db.repositories.attempts import Closing, Intent
from shared.db.repositories.batch_moves import Progress
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.job import job_id_of
from shared.ids import attempt_id, claim_token

MODEL = {"model": "m-cheap", "provider": "p", "tier": "cheap"}


def number_of(context: ProducerContext, batch_id: str) -> int:
    with context.database.reading() as connection:
        row = batches.get(connection, batch_id)
    assert row is not None
    return int(row.number)


def finish(
    context: ProducerContext,
    batch_id: str,
    line: int,
    *,
    asked: Mapping[str, str] = MODEL,
    output_tokens: int = 5,
    accepted: bool = True,
    **result: Any,
) -> None:
    """End a job: with an answer unless `error` is given. asked: the model that gave it."""
    number = number_of(context, batch_id)
    job_id, now, token = job_id_of(number, line), context.clock(), claim_token()
    cost = result.pop("cost_nusd", 1000)
    error: Mapping[str, Any] | None = result.pop("error", None)
    text = result.pop("text", "four")
    intent = Intent(
        id=attempt_id(), job_id=job_id, project_id="default", ordinal=1, purpose=Purpose.ANSWER,
        rung=0, key_id="p:1", reserved_nusd=5000, day=f"{now:%Y-%m-%d}", month=f"{now:%Y-%m}",
        started_at=now, **asked,
    )  # fmt: skip
    closing = Closing(
        intent,
        AttemptStatus.BILLED if error is None else AttemptStatus.UNCONFIRMED,
        cost,
        now,
        input_tokens=10,
        cached_tokens=2,
        output_tokens=output_tokens,
        error_kind=None if error is None else "timeout",
        error_message=None if error is None else "no answer in time",
        verdict={"accepted": accepted, "score": 1.0, "reasons": [], "judge": "checks"},
    )
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "choices": [choice]}
    row = {
        "job_id": job_id, "status": "completed" if error is None else "failed", **asked,
        "task_type": "simple_qa", "difficulty": 125, "finish_reason": "stop", "attempts": 1,
        "climbs": 0, "rescued": False, "cached": False, "cost_nusd": cost, "strongest_nusd": 9000,
        "latency_ms": 5, "body": orjson.dumps(body).decode() if error is None else None,
        "error": error, "decision": {"classification": {"task_type": "simple_qa"},
                                     "route": {"model": "m-cheap", "excluded": {"x": "dear"}}},
        "ended_at": now,
    } | result  # fmt: skip
    with context.database.transaction() as connection:
        assert job_claims.claim(connection, [job_id], token, now + timedelta(minutes=1))
        attempts.open_intents(connection, [intent])
    with context.database.transaction() as connection:
        assert job_claims.still_claimed(connection, {(job_id, token)}) == {(job_id, token)}
        progress = attempts.close(connection, [closing])
        job_claims.finish(connection, [row])
        ended = Progress(completed=1) if error is None else Progress(failed=1)
        step = progress.get(number, Progress())
        batch_moves.add_progress(
            connection,
            {number: ended + step},
            now,
        )
