"""Results to be read: lines in input order, as JSONL, CSV or OpenAI output, and a job's story.

Lines can be read while the batch runs: those of the jobs that have ended by then. Reading takes
constant memory however long the batch is; each page is one short reading of the database.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

import orjson

from producer.story import story_of
from shared.db.engine import Database
from shared.db.repositories import batches, results
from shared.db.repositories.batches import BatchRow
from shared.domain.inference import text_of
from shared.domain.job import batch_number_of, line_of, parse_job_id, public_job_id
from shared.domain.money import usd_from_nusd
from shared.errors import NotFoundError

PAGE_LINES: Final = 200
_REFUSED: Final = 400

# What a spreadsheet would run as a formula is shown as text, by the apostrophe they all know.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS: Final = (
    "line", "custom_id", "status", "text", "model", "provider", "tier", "task_type", "difficulty",
    "attempts", "escalated", "cached", "cost_nusd", "cost_usd", "finish_reason",
)  # fmt: skip
_ERROR_COLUMNS: Final = ("error_code", "error_message", "error_field")


class Format(StrEnum):
    """How result lines are written."""

    JSONL = "jsonl"
    CSV = "csv"
    OPENAI = "openai"


class OutputPart(StrEnum):
    """OpenAI's two files of a batch: the answers, and the jobs that have none."""

    OUTPUT = "output"
    ERROR = "error"


MEDIA_TYPES: Final = {
    Format.JSONL: "application/x-ndjson",
    Format.CSV: "text/csv; charset=utf-8",
    Format.OPENAI: "application/x-ndjson",
}


class ResultReader:
    """Reads what became of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stream(
        self, number: int, form: Format, *, after: int = 0, limit: int | None = None
    ) -> Iterator[bytes]:
        """The lines after a line, in blocks of bytes; at most `limit` of them, all where None."""
        write = _WRITERS[form]
        if form is Format.CSV:
            yield _csv_block([[*_COLUMNS, *_ERROR_COLUMNS]])
        for rows in self._pages(number, after, limit):
            yield write(rows)

    def output(self, number: int, part: OutputPart) -> Iterator[bytes]:
        """The lines of the batch's output or error file that are there, in blocks of bytes."""
        answered = part is OutputPart.OUTPUT
        for rows in self._pages(number, 0, None, answered=answered):
            yield _openai(rows)

    def lines(self, number: int, *, after: int, limit: int) -> list[dict[str, Any]]:
        """A page of lines as objects, `response` among them as bytes of JSON."""
        pages = self._pages(number, after, limit)
        return [result_line(row) for rows in pages for row in rows]

    def job(self, public_id: str, project_id: str | None) -> dict[str, Any]:
        """A job's whole story: request, decision, every attempt, its result and events.

        Raises NotFoundError where the project (None: any) has no such job.
        """
        job_id = parse_job_id(public_id)
        with self._database.reading() as connection:
            found = None if job_id is None else results.story(connection, job_id)
            batch = None
            if found is not None:
                batch = batches.by_number(connection, batch_number_of(found.job.id))
        if found is None or batch is None or project_id not in (None, batch.project_id):
            raise NotFoundError("there is no such job in this project", code="job_not_found")
        return story_of(batch, found, None if found.result is None else result_line(found.result))

    def rejected(self, batch: BatchRow, limit: int) -> Sequence[Any]:
        """Rows of the batch's lines that were refused at intake."""
        with self._database.reading() as connection:
            return results.rejected(connection, batch.number, limit)

    def _pages(
        self, number: int, after: int, limit: int | None, *, answered: bool | None = None
    ) -> Iterator[Sequence[Any]]:
        while limit is None or limit > 0:
            wanted = PAGE_LINES if limit is None else min(PAGE_LINES, limit)
            with self._database.reading() as connection:
                rows = results.page(
                    connection, number, after_line=after, limit=wanted, answered=answered
                )
            if rows:
                yield rows
            if len(rows) < wanted:
                return
            after = line_of(rows[-1].job_id)
            limit = None if limit is None else limit - len(rows)


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
        "cost_nusd": row.cost_nusd,
        "cost_usd": usd_from_nusd(row.cost_nusd),
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


def _text(body: str) -> str:
    choices = orjson.loads(body).get("choices") or [{}]
    return text_of((choices[0].get("message") or {}).get("content"))


def _jsonl(rows: Sequence[Any]) -> bytes:
    return b"".join(
        orjson.dumps(result_line(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )


def _openai(rows: Sequence[Any]) -> bytes:
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
        "cost_nusd": row.cost_nusd,
        "cost_usd": usd_from_nusd(row.cost_nusd),
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


def _csv(rows: Sequence[Any]) -> bytes:
    return _csv_block([_cells(result_line(row)) for row in rows])


def _cells(line: dict[str, Any]) -> list[Any]:
    error = line["error"] or {}
    cells = [line[name] for name in _COLUMNS]
    cells += [error.get(name) for name in ("code", "message", "field")]
    return [_harmless(cell) for cell in cells]


def _harmless(cell: Any) -> Any:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell


def _csv_block(rows: Sequence[Sequence[Any]]) -> bytes:
    block = io.StringIO(newline="")
    csv.writer(block).writerows(rows)
    return block.getvalue().encode()


_WRITERS: Final[dict[Format, Callable[[Sequence[Any]], bytes]]] = {
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.OPENAI: _openai,
}
