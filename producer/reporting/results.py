"""Results to be read: lines in input order, as JSONL, CSV or OpenAI output, and a job's story.

Lines can be read while the batch runs: those of the jobs that have ended by then. Reading takes
constant memory however long the batch is, and holds no transaction while its reader is slow: each
block is one reading of the database, over before the block is handed on.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from producer.reporting.result_lines import CSV_HEAD, WRITERS, Format, openai_lines, result_line
from producer.reporting.story import story_of
from shared.db.engine import Database
from shared.db.repositories import batches, outcomes, results
from shared.db.repositories.batches import BatchRow
from shared.db.repositories.results import ResultRow
from shared.domain.job import batch_number_of, line_of, parse_job_id
from shared.errors import NotFoundError

BLOCK_BYTES: Final = 512 * 1024
"""A block is handed on once it has so many bytes; measured in docs/performance.md."""
_BLOCK_LINES: Final = 8_192
_SPANS: Final = 60
_SHORTEST_S: Final = 0.05

Write = Callable[[Sequence[ResultRow]], bytes]


class OutputPart(StrEnum):
    """OpenAI's two files of a batch: the answers, and the jobs that have none."""

    OUTPUT = "output"
    ERROR = "error"


class ResultReader:
    """Reads what became of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stream(
        self, number: int, form: Format, *, after: int = 0, limit: int | None = None
    ) -> Iterator[bytes]:
        """The lines after a line, in blocks of bytes; at most `limit` of them, all where None."""
        if form is Format.CSV:
            yield CSV_HEAD
        yield from self._blocks(number, WRITERS[form], after=after, limit=limit)

    def output(self, number: int, part: OutputPart) -> Iterator[bytes]:
        """The lines of the batch's output or error file that are there, in blocks of bytes."""
        return self._blocks(number, openai_lines, answered=part is OutputPart.OUTPUT)

    def job(self, public_id: str, project_id: str | None) -> dict[str, Any]:
        """A job's whole story: request, decision, every attempt, its result and events.

        Raises NotFoundError where the project (None: any) has no such job.
        """
        job_id = parse_job_id(public_id)
        with self._database.reading() as connection:
            found = None if job_id is None else results.story(connection, job_id)
            batch = said = None
            if found is not None:
                batch = batches.by_number(connection, batch_number_of(found.job.id))
                said = outcomes.score_of(connection, found.job.id)
        if found is None or batch is None or project_id not in (None, batch.project_id):
            raise NotFoundError("there is no such job in this project", code="job_not_found")
        line = None if found.result is None else result_line(found.result)
        return story_of(batch, found, line) | {"feedback": said}

    def spending(self, batch: BatchRow, now: datetime) -> list[dict[str, Any]]:
        """What a batch cost over time, {at (Unix seconds), attempts, cost_nusd}: nothing at its
        beginning, then by equal spans, about sixty until its end or now.
        """
        began = batch.in_progress_at or batch.created_at
        until = batch.completed_at or batch.cancelled_at or batch.expired_at or now
        span_s = max(_SHORTEST_S, (until - began).total_seconds() / _SPANS)
        with self._database.reading() as connection:
            rows = results.cost_over_time(connection, batch.number, span_s)
        spans = [
            {
                "at": (row.span + 1) * span_s,
                "attempts": row.attempts,
                "cost_nusd": int(row.cost_nusd),
            }
            for row in rows
        ]
        return [{"at": began.timestamp(), "attempts": 0, "cost_nusd": 0}, *spans]

    def _blocks(
        self,
        number: int,
        write: Write,
        *,
        after: int = 0,
        limit: int | None = None,
        answered: bool | None = None,
    ) -> Iterator[bytes]:
        left = limit
        while left is None or left > 0:
            wanted = _BLOCK_LINES if left is None else min(_BLOCK_LINES, left)
            block, last, count = self._block(number, write, after, wanted, answered)
            if block:
                yield block
            if last is None:
                return
            after = last
            left = None if left is None else left - count

    def _block(
        self, number: int, write: Write, after: int, wanted: int, answered: bool | None
    ) -> tuple[bytes, int | None, int]:
        """A block, the line to go on after (None: nothing follows), and how many lines it has."""
        block = bytearray()  # one that grows: many small pieces kept apart cost ten times the CPU
        count = 0
        with self._database.snapshot() as connection:
            pieces = results.pieces(
                connection, number, after_line=after, limit=wanted, answered=answered
            )
            for rows in pieces:
                block += write(rows)
                count += len(rows)
                after = line_of(rows[-1].job_id)
                if len(block) >= BLOCK_BYTES:
                    return bytes(block), after, count
        return bytes(block), after if count == wanted else None, count
