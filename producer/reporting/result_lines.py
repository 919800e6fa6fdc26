"""Results in the forms they are read in: result lines, OpenAI's output lines, CSV. Pure.

A stored answer is written into its line as it stands, never parsed and written anew.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import orjson

from producer.reporting.spreadsheet import csv_block, harmless
from shared.db.repositories.results import ResultRow
from shared.domain.inference import text_of
from shared.domain.job import line_of, public_job_id
from shared.domain.money import usd_from_nusd

_REFUSED: Final = 400

_COLUMNS: Final = (
    "line", "custom_id", "status", "text", "model", "provider", "tier", "task_type", "difficulty",
    "attempts", "escalated", "cached", "duplicate_of", "cost_nusd", "cost_usd", "saved_nusd",
    "finish_reason",
)  # fmt: skip
_ERROR_COLUMNS: Final = ("error_code", "error_message", "error_field")


class Format(StrEnum):
    """How result lines are written."""

    JSONL = "jsonl"
    CSV = "csv"
    OPENAI = "openai"


MEDIA_TYPES: Final = {
    Format.JSONL: "application/x-ndjson",
    Format.CSV: "text/csv; charset=utf-8",
    Format.OPENAI: "application/x-ndjson",
}


def result_line(row: Any) -> dict[str, Any]:
    """A result as it stands in `results.jsonl`; its `response` is written as it was stored."""
    return {
        "custom_id": getattr(row, "custom_id", None),
        "line": line_of(row.job_id),
        "status": row.status,
        "text": None if row.body is None else _text(row.body),
        "model": row.model,
        "provider": row.provider,
        "tier": row.tier,
        "task_type": row.task_type,
        "difficulty": None if row.difficulty is None else row.difficulty / 1000,
        "attempts": row.attempts,
        "escalated": row.climbs > 0,
        "cached": row.cached,
        "duplicate_of": None if row.duplicate_of is None else line_of(row.duplicate_of),
        "cost_nusd": row.cost_nusd,
        "cost_usd": usd_from_nusd(row.cost_nusd),
        "saved_nusd": row.saved_nusd,
        "finish_reason": row.finish_reason,
        "error": _error(row.error),
        "response": None if row.body is None else orjson.Fragment(row.body),
    }


def _error(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    error = {"code": stored.get("code"), "message": stored.get("message")}
    rest = {name: stored[name] for name in stored if name not in error}
    return error | rest


def _text(body: str) -> str | None:
    answer = orjson.loads(body)
    if answer.get("object") == "list":
        return None  # embeddings
    choices = answer.get("choices") or [{}]
    return text_of((choices[0].get("message") or {}).get("content"))


def _jsonl(rows: Sequence[ResultRow]) -> bytes:
    return b"".join(
        orjson.dumps(result_line(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )


def openai_lines(rows: Sequence[ResultRow]) -> bytes:
    """Results as lines of OpenAI's output and error files."""
    return b"".join(
        orjson.dumps(openai_line(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )


def openai_line(row: Any) -> dict[str, Any]:
    """A result as a line of OpenAI's output and error files: an HTTP failure stands in the
    response and leaves `error` null, any other failure stands in `error`. A line that was refused
    at intake reads like a request that was. Every body carries our `promptmill` object.
    """
    response = error = None
    if row.body is not None:
        response = _response(row, 200, _with_ours(row.body, row))
    elif row.error.get("status") or "field" in row.error:
        status = row.error.get("status") or _REFUSED
        told = {"message": row.error.get("message"), "type": _type_of(status)}
        told |= {"param": row.error.get("field"), "code": row.error.get("code")}
        response = _response(row, status, {"error": told, "promptmill": promptmill_object(row)})
    else:
        error = {"code": row.error.get("code"), "message": row.error.get("message")}
    return {
        "id": f"batch_req_{row.job_id:x}",
        "custom_id": row.custom_id,
        "response": response,
        "error": error,
    }


def promptmill_object(row: Any) -> dict[str, Any]:
    """What an answer tells beside OpenAI's fields: how it was decided on, and what it cost."""
    return {
        "job_id": public_job_id(row.job_id),
        "task_type": row.task_type,
        "difficulty": None if row.difficulty is None else row.difficulty / 1000,
        "tier": row.tier,
        "model": row.model,
        "provider": row.provider,
        "attempts": row.attempts,
        "escalated": row.climbs > 0,
        "cached": row.cached,
        "duplicate_of": None if row.duplicate_of is None else public_job_id(row.duplicate_of),
        "cost_nusd": row.cost_nusd,
        "cost_usd": usd_from_nusd(row.cost_nusd),
        "saved_nusd": row.saved_nusd,
        "latency_s": None if row.latency_ms is None else row.latency_ms / 1000,
    }


def _response(row: Any, status: int, body: Any) -> dict[str, Any]:
    return {"status_code": status, "request_id": f"req_{row.job_id:x}", "body": body}


def _with_ours(body: str, row: Any) -> Any:
    """The stored answer, byte for byte, with our object as its last field."""
    ours = orjson.dumps({"promptmill": promptmill_object(row)})
    open_body = body.rstrip().removesuffix("}").rstrip()
    comma = "" if open_body.endswith("{") else ","
    return orjson.Fragment(b"%b%b%b" % (open_body.encode(), comma.encode(), ours[1:]))


def _type_of(status: int) -> str:
    return "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004  (HTTP's classes)


def _csv(rows: Sequence[ResultRow]) -> bytes:
    return csv_block([_cells(result_line(row)) for row in rows])


def _cells(line: dict[str, Any]) -> list[Any]:
    error = line["error"] or {}
    cells = [line[name] for name in _COLUMNS]
    cells += [error.get(name) for name in ("code", "message", "field")]
    return [harmless(cell) for cell in cells]


WRITERS: Final[dict[Format, Callable[[Sequence[ResultRow]], bytes]]] = {
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.OPENAI: openai_lines,
}
CSV_HEAD: Final = csv_block([[*_COLUMNS, *_ERROR_COLUMNS]])
"""The first line of a CSV export."""
