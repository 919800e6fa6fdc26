"""Submission: a spooled file becomes a batch of jobs.

The order matters: what is wrong with the whole is refused before anything is created; a batch is
created before its first line is written and sealed after its last. A process that dies in between
leaves the batch `validating`, and the batch closer ends it. Jobs run once the batch is sealed.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from producer.intake import IntakeLimits, Line, RejectedLine, ValidLine, read_lines
from producer.options import MAX_LABEL, Options, window_of
from producer.spool import Spool
from shared.catalog.spec import Catalog
from shared.chunking import chunks_of, ranges_text
from shared.db.engine import Connection, Database
from shared.db.repositories import batches, jobs, results, webhooks
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.db.repositories.jobs import TakenLine
from shared.domain.batch import BatchStatus, Priority
from shared.domain.job import job_id_of, line_of
from shared.errors import ConflictError, UnavailableError, UsageError
from shared.ids import new_id
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.webhooks import url_guard

log = structlog.get_logger(__name__)

REJECTED_SHOWN: Final = 10_000
_LINES_PER_TRANSACTION: Final = 2_000
_BYTES_PER_TRANSACTION: Final = 8 * 1024 * 1024
_DIRECT_LEASE: Final = timedelta(seconds=30)
"""How long a chunk that was published here may wait in its queue before the stager looks for it."""


@dataclass(frozen=True, slots=True)
class WebhookOfSubmission:
    """The endpoint that will be told; its secret only where this submission made it."""

    id: str
    signing_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch as it stands after its submission, and its first 10,000 bad lines.

    replayed: nothing was created now, an earlier submission under the same key made it.
    """

    batch: BatchRow
    rejected: Sequence[RejectedLine]
    rejected_count: int
    webhook: WebhookOfSubmission | None = None
    replayed: bool = False


class BadLinesError(UsageError):
    """A strict submission has bad lines, so nothing was created."""

    code = "invalid_lines"

    def __init__(self, rejected: Sequence[RejectedLine], count: int) -> None:
        lines = "1 bad line" if count == 1 else f"{count} bad lines"
        super().__init__(f"the file has {lines}; with `strict` nothing of it runs")
        self.rejected = rejected
        self.rejected_count = count


@dataclass(slots=True)
class _Taken:
    """What has been written of a batch so far."""

    total: int = 0
    rejected_count: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)
    first_good: list[int] = field(default_factory=list)

    @property
    def good(self) -> int:
        return self.total - self.rejected_count


class _EndedMeanwhileError(Exception):
    """The batch was cancelled or given up while its lines were being written."""


class Submission:
    """Takes files in. Thread-safe: holds no state of a submission.

    chunk_size: batches of at most so many good lines are queued here, larger ones by the stager.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        publisher: Publisher,
        *,
        limits: IntakeLimits,
        chunk_size: int,
        webhook_allowed_cidrs: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._known_models = frozenset(catalog.models)
        self._publisher = publisher
        self._limits = limits
        self._chunk_size = chunk_size
        self._allowed_cidrs = webhook_allowed_cidrs
        self._clock = clock

    def submit(self, spool: Spool, options: Options) -> Submitted:
        """Make a batch of a spooled file, or find the one that was made under the same key.

        Raises UsageError for what is wrong with the whole (an empty file, options, a forbidden
        webhook address), BadLinesError where `strict` was asked for, ConflictError
        (`idempotency_conflict`) for a key that was used for something else.
        """
        window = window_of(options.completion_window)
        spool.rewind()
        digest = hashlib.sha256(spool.sha256.encode() + options.fingerprint()).hexdigest()
        earlier = self._earlier(options, digest)
        if earlier is not None:
            return earlier
        if options.webhook_url is not None:
            url_guard.check(options.webhook_url, self._allowed_cidrs)
        if options.strict:
            self._check_all(spool)
        try:
            number, webhook = self._create(options, digest, window)
        except ConflictError as error:
            earlier = self._earlier(options, digest)
            if error.code != "idempotency_key_taken" or earlier is None:
                raise
            return earlier  # two submissions under one key at once: the other was first
        return self._fill(number, spool, options, webhook)

    def _earlier(self, options: Options, digest: str) -> Submitted | None:
        key = options.idempotency_key
        if key is None:
            return None
        with self._database.reading() as connection:
            batch = batches.by_idempotency_key(connection, options.project_id, key)
            if batch is None:
                return None
            if batch.content_sha256 != digest:
                raise ConflictError(
                    "this key was used for another file or other options: use a new one",
                    code="idempotency_conflict",
                    param="Idempotency-Key",
                )
            bad = _stored_rejections(connection, batch)
            webhook = None
            if options.webhook_url is not None:
                known = webhooks.find_by_url(connection, options.project_id, options.webhook_url)
                webhook = None if known is None else WebhookOfSubmission(known.id)
        return Submitted(batch, bad, batch.rejected, webhook, replayed=True)

    def _lines(self, spool: Spool) -> Iterator[Line]:
        spool.rewind()
        return read_lines(spool.file, self._limits, self._known_models)

    def _check_all(self, spool: Spool) -> None:
        bad: list[RejectedLine] = []
        count = 0
        for line in self._lines(spool):
            if isinstance(line, RejectedLine):
                count += 1
                if len(bad) < REJECTED_SHOWN:
                    bad.append(line)
        if count:
            raise BadLinesError(bad, count)

    def _create(
        self, options: Options, digest: str, window: timedelta
    ) -> tuple[int, WebhookOfSubmission | None]:
        now = self._clock()
        new = NewBatch(
            id=new_id("batch"),
            project_id=options.project_id,
            content_sha256=digest,
            priority=options.priority,
            completion_window=options.completion_window,
            created_at=now,
            expires_at=now + window,
            idempotency_key=options.idempotency_key,
            name=options.name,
            max_cost_nusd=options.max_cost_nusd,
            metadata=options.metadata,
        )
        with self._database.transaction() as connection:
            number = batches.create(connection, new)
            return number, _webhook(connection, options, now)

    def _fill(
        self, number: int, spool: Spool, options: Options, webhook: WebhookOfSubmission | None
    ) -> Submitted:
        taken = _Taken()
        messages: list[ChunkMessage] = []
        try:
            for block in _blocks(self._lines(spool)):
                self._write(number, block, taken)
            messages = self._seal(number, options, taken)
        except _EndedMeanwhileError:
            log.warning("the batch ended before its last line was in", batch_number=number)
        self._publish(messages, options)
        with self._database.reading() as connection:
            batch = batches.by_number(connection, number)
        if batch is None:
            raise UnavailableError("the batch is gone: the database lost it")
        return Submitted(batch, taken.rejected, taken.rejected_count, webhook)

    def _write(self, number: int, block: Sequence[tuple[Line, str | None]], taken: _Taken) -> None:
        bad = [line for line, _ in block if isinstance(line, RejectedLine)]
        with self._database.transaction() as connection:
            # Locks the batch first, so that a cancellation comes wholly before or after the block.
            batches.add_taken(connection, number, lines=len(block), rejected=len(bad))
            _still_validating(connection, number)
            lines = [_taken_line(line, request) for line, request in block]
            jobs.insert_lines(connection, number, lines, self._clock())
        taken.total += len(block)
        taken.rejected_count += len(bad)
        taken.rejected.extend(bad[: REJECTED_SHOWN - len(taken.rejected)])
        room = self._chunk_size + 1 - len(taken.first_good)
        good = (line.line for line, _ in block if isinstance(line, ValidLine))
        taken.first_good.extend(line for _, line in zip(range(room), good, strict=False))

    def _seal(self, number: int, options: Options, taken: _Taken) -> list[ChunkMessage]:
        """Let the jobs run; what is returned is to be published after the commit."""
        now = self._clock()
        with self._database.transaction() as connection:
            batch = _still_validating(connection, number)
            if not taken.good:
                message = "no line of the file can run; each has its reason in the results"
                error = {"code": "no_valid_lines", "message": message}
                batches.reject(connection, number, error, now)
                return []
            batches.seal(connection, number, now)
            if taken.good > self._chunk_size:
                return []
            ids = [job_id_of(number, line) for line in taken.first_good]
            jobs.mark_staged(connection, ids, now + _DIRECT_LEASE)
        size = 1 if options.priority is Priority.INTERACTIVE else self._chunk_size
        return [
            ChunkMessage(batch.id, number, ranges_text(lines))
            for lines in chunks_of(taken.first_good, size)
        ]

    def _publish(self, messages: Sequence[ChunkMessage], options: Options) -> None:
        if not messages:
            return
        try:
            self._publisher.publish(messages, options.project_id, options.priority)
        except UnavailableError as error:
            # Nothing is lost: the stager finds the jobs when their lease is over.
            log.warning("a new batch waits for the broker", reason=error.message)


def _blocks(lines: Iterable[Line]) -> Iterator[list[tuple[Line, str | None]]]:
    """Lines with their requests in stored form, in blocks bounded by number and by bytes."""
    block: list[tuple[Line, str | None]] = []
    size = 0
    for line in lines:
        request = line.request.to_json().decode() if isinstance(line, ValidLine) else None
        block.append((line, request))
        size += len(request or "")
        if len(block) >= _LINES_PER_TRANSACTION or size >= _BYTES_PER_TRANSACTION:
            yield block
            block, size = [], 0
    if block:
        yield block


def _still_validating(connection: Connection, number: int) -> BatchRow:
    batch = batches.by_number(connection, number)
    if batch is None or batch.status != BatchStatus.VALIDATING:
        raise _EndedMeanwhileError
    return batch


def _taken_line(line: Line, request: str | None) -> TakenLine:
    if isinstance(line, ValidLine):
        return TakenLine(line.line, line.custom_id, request)
    error: Mapping[str, Any] = {
        "code": line.code,
        "message": line.message,
        "field": line.field,
    }
    return TakenLine(line.line, line.custom_id, None, error)


def _webhook(connection: Connection, options: Options, now: datetime) -> WebhookOfSubmission | None:
    url = options.webhook_url
    if url is None:
        return None
    known = webhooks.find_by_url(connection, options.project_id, url)
    if known is not None:
        return WebhookOfSubmission(known.id)
    made, secret = webhooks.create_endpoint(
        connection, options.project_id, url, (options.name or "submission")[:MAX_LABEL], None, now
    )
    return WebhookOfSubmission(made.id, secret)


def _stored_rejections(connection: Connection, batch: BatchRow) -> list[RejectedLine]:
    if not batch.rejected:
        return []
    return [
        RejectedLine(
            line_of(row.job_id),
            row.custom_id,
            row.error.get("field"),
            row.error["code"],
            row.error["message"],
        )
        for row in results.rejected(connection, batch.number, REJECTED_SHOWN)
    ]
