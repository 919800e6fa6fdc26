"""The rows in `results` that jobs end with: what `results` and the API show of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import ModelSpec
from shared.domain.inference import Usage
from shared.domain.job import JobStatus, public_job_id
from worker.answer_cache import KeptAnswer
from worker.story import Story

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


def completed_row(
    story: Story, reason: str, strongest: ModelSpec | None, now: datetime
) -> dict[str, Any]:
    """The row in `results` of a job that has its answer: the best one."""
    story.note(reason)
    best = story.best()
    return {
        **_common_row(story, now),
        "status": JobStatus.COMPLETED.value,
        "model": best.model,
        "provider": best.provider,
        "tier": best.tier,
        "finish_reason": best.finish_reason,
        "rescued": best.verdict.accepted and not story.answers[0].verdict.accepted,
        "strongest_nusd": _strongest_nusd(story, strongest, best.usage),
        "latency_ms": best.latency_ms,
        "body": best.body.decode(),
    }


def _strongest_nusd(story: Story, strongest: ModelSpec | None, usage: Usage) -> int:
    """What the strongest model alone would have cost; embeddings are never asked of it."""
    if story.request.embed is not None:
        return story.paid_nusd
    return cost_nusd(strongest.price, usage) if strongest else 0


def failed_row(story: Story, error: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The row in `results` of a job that fails."""
    return {
        **_common_row(story, now),
        "status": JobStatus.FAILED.value,
        "error": dict(error),
    }


def _kind(story: Story) -> dict[str, Any]:
    """What kind of prompt it was; embeddings are of none."""
    if story.request.embed is not None:
        return {}
    return {
        "task_type": story.classification.task_type.value,
        "difficulty": round(story.classification.difficulty * 1000),
    }


def _common_row(story: Story, now: datetime) -> dict[str, Any]:
    return {
        **_BLANK_ROW,
        "job_id": story.job.id,
        **_kind(story),
        "attempts": story.calls,
        "climbs": story.climbs,
        "cost_nusd": story.paid_nusd,
        "decision": story.decision(),
        "ended_at": now,
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
