"""The API's objects, made of rows: OpenAI's shapes with all their keys, ours beside them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from producer.accounts.templates import template_of
from producer.file_batches import MadeBatch
from producer.files import FileInfo, written_ids
from producer.intake import RejectedLine
from producer.submitted import Submitted, WebhookOfSubmission
from shared.clock import unix_seconds
from shared.db.repositories.batches import BatchRow, Counts
from shared.db.repositories.files import output_ids
from shared.domain.batch import BatchStatus, shown
from shared.domain.money import usd_from_nusd

_MOMENTS = (
    "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
    "cancelling_at", "cancelled_at",
)  # fmt: skip


def batch_object(row: BatchRow, counts: Counts) -> dict[str, Any]:
    """OpenAI's batch object with every key, null where unset, and our `promptmill` object.

    The output and error file of a batch that was made from a file can be read from their first
    line on, and what was used so far is told at any time.
    """
    written = written_ids(row)
    output_id, error_id = output_ids(row.id)
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": None,
        "errors": _errors(row.error),
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": shown(row.status),
        "output_file_id": output_id if output_id in written else None,
        "error_file_id": error_id if error_id in written else None,
        "created_at": unix_seconds(row.created_at),
        **{name: unix_seconds(getattr(row, name)) for name in _MOMENTS},
        "request_counts": {
            "total": counts.total,
            "completed": counts.completed,
            "failed": counts.failed,
        },
        "usage": _usage(row),
        "metadata": row.metadata or None,
        "promptmill": {
            "project": row.project_id,
            "name": row.name,
            "priority": row.priority,
            "counts": asdict(counts),
            "filling": row.status == BatchStatus.FILLING,
            "retry_at_line": row.retry_at_line,
            "rejected": row.rejected,
            "optimise": row.optimise,
            "pilot": row.pilot,
            "max_quality_loss": row.max_quality_loss,
            "duplicates": row.duplicates,
            **_money("cost", row.cost_nusd),
            **_money("unconfirmed", row.unconfirmed_nusd),
            **_money("max_cost", row.max_cost_nusd),
        },
    }


def _usage(row: BatchRow) -> dict[str, Any]:
    return {
        "input_tokens": row.input_tokens,
        "input_tokens_details": {"cached_tokens": row.cached_tokens},
        "output_tokens": row.output_tokens,
        "output_tokens_details": {"reasoning_tokens": row.reasoning_tokens},
        "total_tokens": row.input_tokens + row.output_tokens,
    }


def submitted_object(submitted: Submitted, counts: Counts) -> dict[str, Any]:
    """The batch object as a submission answers it."""
    answer = batch_object(submitted.batch, counts)
    answer["rejected"] = rejected_lines(submitted.rejected)
    answer["rejected_count"] = submitted.rejected_count
    return answer | _webhook(submitted.webhook)


def made_object(made: MadeBatch, counts: Counts) -> dict[str, Any]:
    """The batch object as the creation of a batch from a file answers it."""
    return batch_object(made.batch, counts) | _webhook(made.webhook)


def _webhook(webhook: WebhookOfSubmission | None) -> dict[str, Any]:
    if webhook is None:
        return {}
    told = {"id": webhook.id}
    if webhook.signing_secret is not None:
        told["signing_secret"] = webhook.signing_secret
    return {"webhook": told}


def file_object(file: FileInfo) -> dict[str, Any]:
    """OpenAI's file object; a file that a batch is still writing is `uploaded`, of 0 bytes."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size or 0,
        "created_at": unix_seconds(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed" if file.is_complete else "uploaded",
        "expires_at": unix_seconds(file.expires_at),
        "status_details": None,
    }


def rejected_lines(lines: Iterable[RejectedLine]) -> list[dict[str, Any]]:
    """Bad lines as callers see them."""
    return [
        {
            "line": line.line,
            "custom_id": line.custom_id,
            "field": line.field,
            "code": line.code,
            "message": line.message,
        }
        for line in lines
    ]


def project_object(row: Any) -> dict[str, Any]:
    """A project with its limits."""
    return {
        "id": row.id,
        "object": "project",
        "name": row.id,
        "created_at": unix_seconds(row.created_at),
        **_money("day_limit", row.day_limit_nusd),
        **_money("month_limit", row.month_limit_nusd),
        **_money("total_limit", row.total_limit_nusd),
        "routing": row.routing,
        "cache_keep_s": row.cache_ttl_s,
    }


def key_object(row: Any, key: str | None = None) -> dict[str, Any]:
    """A key without its text, or with it where it was just made."""
    told = {
        "id": row.id,
        "object": "key",
        "project": row.project_id,
        "name": row.name,
        "hint": row.hint,
        "scopes": row.scopes,
        "requests_per_minute": row.requests_per_minute,
        "tokens_per_day": row.tokens_per_day,
        **_money("spend_limit", row.spend_limit_nusd),
        "created_at": unix_seconds(row.created_at),
        "expires_at": unix_seconds(row.expires_at),
        "revoked_at": unix_seconds(row.revoked_at),
    }
    return told if key is None else {**told, "key": key}


def template_object(row: Any) -> dict[str, Any]:
    """One version of a template."""
    template = template_of(row)
    return {
        "id": template.reference,
        "object": "template",
        "project": row.project_id,
        "name": row.name,
        "version": row.version,
        "variables": list(template.variables),
        "template": template.fields,
        "created_at": unix_seconds(row.created_at),
    }


def endpoint_object(row: Any, secret: str | None = None) -> dict[str, Any]:
    """OpenAI's webhook endpoint; the secret only where it was just made."""
    told = {
        "id": row.id,
        "object": "webhook_endpoint",
        "name": row.name,
        "url": row.url,
        "event_types": row.event_types,
        "created_at": unix_seconds(row.created_at),
        "updated_at": unix_seconds(row.updated_at),
        "signing_secret_hint": row.secret[-4:],
        "status": row.status,
        "failing_since": unix_seconds(row.failing_since),
    }
    return told if secret is None else {**told, "signing_secret": secret}


def delivery_object(row: Any, log: Iterable[Any]) -> dict[str, Any]:
    """A delivery with its log; `status_code` and `error` are those of the last try."""
    tries = [
        {
            "at": unix_seconds(entry.at),
            "status_code": entry.status_code,
            "error": entry.error,
            "duration_ms": entry.duration_ms,
        }
        for entry in log
    ]
    last = tries[-1] if tries else {"status_code": None, "error": None}
    return {
        "id": row.id,
        "object": "webhook_delivery",
        "webhook_endpoint_id": row.endpoint_id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "status": row.status,
        "tries": row.tries,
        "status_code": last["status_code"],
        "error": last["error"],
        "log": tries,
        "created_at": unix_seconds(row.created_at),
        "next_try_at": unix_seconds(row.next_try_at),
        "ended_at": unix_seconds(row.ended_at),
    }


def _errors(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    names = ("code", "message", "param", "line")
    data = [{name: each.get(name) for name in names} for each in error.get("data", [error])]
    return {"object": "list", "data": data}


def _money(name: str, nusd: int | None) -> dict[str, Any]:
    usd = None if nusd is None else usd_from_nusd(nusd)
    return {f"{name}_nusd": nusd, f"{name}_usd": usd}
