"""A job's whole story as one object: what was decided and why, every attempt, and its money. Pure.

Moments are Unix seconds with thousandths, amounts nano-dollars with the same in USD beside.
"""

from datetime import datetime
from typing import Any

import orjson

from shared.db.repositories.batches import BatchRow
from shared.db.repositories.results import JobStory
from shared.domain.job import line_of, public_job_id
from shared.domain.money import usd_from_nusd


def story_of(batch: BatchRow, story: JobStory, result: dict[str, Any] | None) -> dict[str, Any]:
    """The story of a job of a batch; `result` is its result line once it has ended."""
    job = story.job
    ended = story.result
    decision = (ended.decision if ended is not None else job.decision) or {}
    request = None if job.request is None else orjson.loads(job.request)
    cost = sum(attempt.cost_nusd for attempt in story.attempts)
    return {
        "id": public_job_id(job.id),
        "object": "job",
        "batch_id": batch.id,
        "project": batch.project_id,
        "line": line_of(job.id),
        "custom_id": job.custom_id,
        "status": job.status,
        "request": request,
        "template": (request or {}).get("template"),
        "classification": decision.get("classification"),
        "route": decision.get("route"),
        "no_route": decision.get("no_route"),
        "trial": decision.get("trial"),
        "notes": decision.get("notes", []),
        "waiting": _waiting(job) if ended is None else None,
        "attempts": [_attempt(attempt) for attempt in story.attempts],
        "cost_nusd": cost,
        "cost_usd": usd_from_nusd(cost),
        "result": None if result is None else {**result, "custom_id": job.custom_id},
        "events": _events(batch, story),
    }


def _waiting(job: Any) -> dict[str, Any]:
    return {
        "reason": job.wait_reason,
        "run_after": _moment(job.run_after),
        "since": _moment(job.waiting_since),
        "held_scope": job.held_scope,
        "need_nusd": job.need_nusd,
        "deaths": job.deaths,
    }


def _attempt(row: Any) -> dict[str, Any]:
    error = None
    if row.error_kind is not None:
        error = {"kind": row.error_kind, "message": row.error_message}
    return {
        "id": row.id,
        "ordinal": row.ordinal,
        "purpose": row.purpose,
        "status": row.status,
        "rung": row.rung,
        "model": row.model,
        "provider": row.provider,
        "tier": row.tier,
        "key_id": row.key_id,
        "reserved_nusd": row.reserved_nusd,
        "cost_nusd": row.cost_nusd,
        "cost_usd": usd_from_nusd(row.cost_nusd),
        "input_tokens": row.input_tokens,
        "cached_tokens": row.cached_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "output_tokens": row.output_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "finish_reason": row.finish_reason,
        "verdict": row.verdict,
        "error": error,
        "warnings": row.warnings or [],
        "started_at": _moment(row.started_at),
        "ended_at": _moment(row.ended_at),
    }


def _events(batch: BatchRow, story: JobStory) -> list[dict[str, Any]]:
    """What happened when, in order, told from the rows."""
    told: list[tuple[datetime, str, dict[str, Any]]] = [(batch.created_at, "submitted", {})]
    for attempt in story.attempts:
        about = {"attempt": attempt.id, "model": attempt.model, "purpose": attempt.purpose}
        told.append((attempt.started_at, "attempt.started", about))
        if attempt.ended_at is not None:
            told.append((attempt.ended_at, f"attempt.{attempt.status}", about))
    if story.result is not None:
        told.append((story.result.ended_at, f"job.{story.result.status}", {}))
    told.sort(key=lambda event: event[0])
    return [{"at": _moment(at), "type": kind, **about} for at, kind, about in told]


def _moment(moment: datetime | None) -> float | None:
    return None if moment is None else round(moment.timestamp(), 3)
