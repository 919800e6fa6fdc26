"""The report on a batch: what it cost, where the money went, and what climbing brought."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from producer.planning.running import SoFar, in_the_end
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import batch_plans, duplicates, results
from shared.db.repositories import outcomes as checked
from shared.db.repositories.batches import BatchRow
from shared.domain.attempt import AttemptStatus
from shared.domain.batch import shown
from shared.domain.money import usd_from_nusd


def report(database: Database, batch: BatchRow) -> dict[str, Any]:
    """The report on a batch as it stands, all of it read at one moment (the batch's own row apart).

    `always_strongest_nusd` is what the answered jobs would have cost on the strongest model alone,
    at the usage of their answers: an estimate, for another model writes other answers. `cache` and
    `deduplication` tell what answers that were not bought again had cost when they were.
    """
    with database.reading() as connection:
        models = results.by_model(connection, batch.number)
        tasks = results.by_task_type(connection, batch.number)
        outcomes = results.by_outcome(connection, batch.number)
        climbing = results.climbing(connection, batch.number)
        checks = checked.checks_in_batch(connection, batch.number)
        climb_cost = results.climb_cost_nusd(connection, batch.number)
        errors = results.by_error(connection, batch.number)
        above = results.above_reservation(connection, batch.number)
        repeated = duplicates.sums(connection, batch.number)
        plan = batch_plans.of(connection, batch.number)
    strongest = int(climbing.strongest_nusd)
    saved = strongest - batch.cost_nusd
    return {
        "batch_id": batch.id,
        "status": shown(batch.status),
        **_money("total_cost", batch.cost_nusd),
        **_money("unconfirmed", batch.unconfirmed_nusd),
        "by_model": [_model(row) for row in models],
        "by_task_type": [_task(row) for row in tasks],
        "escalations": {
            "climbs": int(climbing.climbs),
            "rescued": int(climbing.rescued),
            **_money("cost", climb_cost),
        },
        "agreement": {
            "checks": checks.checks,
            "agreed": checks.agreed,
            **_money("cost", checks.cost_nusd),
            **_money("saved", checks.saved_nusd),
        },
        "cache": {
            "hits": int(repeated.cache_hits),
            **_money("saved", int(repeated.cache_saved_nusd)),
        },
        "deduplication": {
            "answered": int(repeated.duplicates),
            **_money("saved", int(repeated.duplicates_saved_nusd)),
        },
        "attempts_without_answer": _without_answer(outcomes),
        "above_reservation": {
            "attempts": above.attempts,
            **_money("excess", int(above.excess_nusd)),
        },
        "errors": [
            {"code": row.code, "jobs": row.jobs, **_money("cost", int(row.cost_nusd))}
            for row in errors
        ],
        **_money("always_strongest", strongest),
        **_money("saved", saved),
        "predicted": None if plan is None else _predicted(plan, batch),
        "pilot": None if plan is None or plan.pilot is None else _pilot(plan.pilot),
    }


def _pilot(pilot: Any) -> dict[str, Any]:
    """What a pilot cost and chose; `saved` is what its choices are expected to save on the whole
    batch over the usual routing, the pilot's own extra calls paid.
    """
    told: dict[str, Any] = {
        "lines": len(pilot["lines"]),
        "judged": pilot.get("judged"),
        "max_quality_loss": pilot["max_quality_loss"],
        "loss_bound": pilot.get("loss_bound"),
        "choices": pilot.get("choices", []),
    }
    for name in ("cost", "extra", "saved"):
        told |= _money(name, pilot.get(f"{name}_nusd", 0))
    return told


def _predicted(plan: Any, batch: BatchRow) -> dict[str, Any]:
    """What was expected of the batch before its first job ran, beside what has become of it; where
    it has not ended, `actual` is what there is so far, and `now` what is expected since.
    """
    expected = plan.forecast["cost_nusd"]
    ended_at = batch.completed_at or batch.expired_at or batch.cancelled_at or batch.failed_at
    began_at = batch.in_progress_at or plan.made_at
    return {
        "made_at": plan.made_at.timestamp(),
        "cost_nusd": expected,
        "cost_usd": plan.forecast["cost_usd"],
        "models": plan.forecast["models"],
        "unroutable": plan.forecast["unroutable"],
        "seconds": plan.forecast["seconds"],
        "allotment": plan.forecast.get("allotment"),
        "now": None if ended_at is not None else _now(plan.forecast, batch, began_at),
        "actual": {
            "is_final": ended_at is not None,
            **_money("cost", batch.cost_nusd),
            "of_p50": round(batch.cost_nusd / expected["p50"], 4) if expected["p50"] else None,
            "within_p95": batch.cost_nusd <= expected["p95"],
            "seconds": None if ended_at is None else (ended_at - began_at).total_seconds(),
        },
    }


def _now(forecast: Mapping[str, Any], batch: BatchRow, began_at: datetime) -> dict[str, Any]:
    asked = max(0, batch.total - batch.rejected)
    ended = batch.completed + batch.failed + batch.cancelled + batch.expired - batch.rejected
    elapsed_s = (utc_now() - began_at).total_seconds()
    so_far = SoFar(asked, max(0, min(asked, ended)), batch.cost_nusd, elapsed_s)
    return in_the_end(forecast["cost_nusd"], forecast["seconds"], so_far)


def _model(row: Any) -> dict[str, Any]:
    return {
        "model": row.model,
        "provider": row.provider,
        "attempts": row.attempts,
        **_money("cost", int(row.cost_nusd)),
        "input_tokens": int(row.input_tokens),
        "cached_tokens": int(row.cached_tokens),
        "output_tokens": int(row.output_tokens),
        "reasoning_tokens": int(row.reasoning_tokens),
    }


def _task(row: Any) -> dict[str, Any]:
    return {
        "task_type": row.task_type,
        "jobs": row.jobs,
        "completed": int(row.completed),
        **_money("cost", int(row.cost_nusd)),
    }


def _without_answer(rows: Sequence[Any]) -> dict[str, Any]:
    """Attempts that failed: `free` ones cost nothing, `unconfirmed` ones their reservation."""
    sums: dict[str, Any] = {}
    for status in (AttemptStatus.FREE.value, AttemptStatus.UNCONFIRMED.value):
        own = [row for row in rows if row.status == status]
        sums[status] = {
            "attempts": sum(row.attempts for row in own),
            **_money("cost", sum(int(row.cost_nusd) for row in own)),
            "by_error": [{"kind": row.error_kind, "attempts": row.attempts} for row in own],
        }
    return sums


def _money(name: str, nusd: int) -> dict[str, Any]:
    return {f"{name}_nusd": nusd, f"{name}_usd": usd_from_nusd(nusd)}
