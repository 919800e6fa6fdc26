"""An upload whose first lines run while the others are still being sent.

As long as few lines are there nothing is created: a short file is taken in as a whole. From then on
each piece is read as it comes, its lines become jobs in blocks, and the first block that holds a
good line lets the batch run (`filling`). With each block it is noted how much of the file is in and
what its hash is, so that only the same file can be sent on under the same key.

The upload is kept in the spool all the same. Whatever goes wrong on the way (the database is away,
another upload of the same file overtakes this one) is made good at the end from there. An error in
what was asked for is not raised here: the submission of the whole file tells it.

Weakness: what must be judged as a whole (`strict`, an API key's tokens of a day) cannot begin so.
"""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import structlog

from producer.blocks import LINES_PER_TRANSACTION, blocks_of
from producer.filling import (
    EndedMeanwhileError,
    Filler,
    Taken,
)
from producer.intake import FirstLines, Line, LineReader
from producer.options import Options
from producer.spool import Spool, TooLargeError
from producer.submission import Submission
from producer.submitted import Begun, Submitted, content_digest
from shared.db.engine import Connection
from shared.db.repositories import batch_moves, batches
from shared.domain.batch import UPLOAD_CUT_SHORT, BatchStatus
from shared.errors import ConflictError, PromptmillError, UnavailableError
from shared.fault_points import FaultPoint, reach

log = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 16
"""Uploads of a process that run early at a time; each may remember 26 MB about its lines. Further
ones run once they are complete.
"""
_SEEN_EVERY_S: Final = 30.0
_TRIED_EVERY_S: Final = 1.0


class EarlyUploads:
    """What the uploads of a process share. Thread-safe."""

    def __init__(self, submission: Submission, filler: Filler) -> None:
        self.submission = submission
        self.filler = filler
        self.room = threading.BoundedSemaphore(MOST_AT_ONCE)

    def upload(
        self, spool: Spool, options: Options, declared_bytes: int | None = None
    ) -> "EarlyUpload":
        """Take in an upload; raises UsageError where it was to begin early and cannot.

        declared_bytes: how long its sender says it is; one that is too long never begins.
        """
        starts_after = self.submission.starts_after(options)
        if declared_bytes is not None and declared_bytes > spool.max_bytes:
            starts_after = None
        return EarlyUpload(self, spool, options, starts_after)


class EarlyUpload:
    """One upload, piece by piece, by one thread at a time. A context manager."""

    def __init__(
        self, parts: EarlyUploads, spool: Spool, options: Options, starts_after: int | None
    ) -> None:
        self._parts = parts
        self._submission = parts.submission
        self._spool = spool
        self._options = options
        self._starts_after = starts_after
        self._begun: Begun | None = None
        self._reading: _Reading | None = None
        self._has_room = False
        self._tried_at = 0.0
        self._seen_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._detach()
        if self._has_room:
            self._parts.room.release()

    @property
    def may_begin(self) -> bool:
        """Whether it matters how soon pieces come here."""
        return self._starts_after is not None

    def take(self, piece: bytes, *, is_last: bool = False) -> None:
        """Take in the next piece; raises TooLargeError, by which a batch that runs ends.

        is_last: nothing more comes, so there is nothing to be earlier than.
        """
        try:
            self._spool.write(piece)
        except TooLargeError as error:
            self._lose({"code": error.code, "message": error.message})
            raise
        if self._reading is not None:
            self._read([piece])
        elif self._begun is None and not is_last and self._may_begin_now():
            self._begin()
        self._keep_alive()

    def finish(self) -> Submitted:
        """The last piece is taken: the batch as it stands then. Raises as `Submission.submit`."""
        if self._begun is None:
            return self._submission.submit(self._spool, self._options)
        digest = content_digest(self._spool.sha256, self._options)
        taken = None
        if self._reading is not None:
            try:
                self._reading.finish(digest)
                taken = self._reading.taken
            except EndedMeanwhileError:
                self._detach()
        return self._submission.filled(self._begun, self._spool, self._options, digest, taken)

    def broken_off(self) -> None:
        """Its sender is gone. Without a key nobody can send it on, so it ends at once."""
        if self._options.idempotency_key is None:
            self._lose(UPLOAD_CUT_SHORT)

    def _may_begin_now(self) -> bool:
        now = time.monotonic()
        after = self._starts_after
        if after is None or self._spool.line_ends < after or now - self._tried_at < _TRIED_EVERY_S:
            return False
        self._tried_at = now
        self._has_room = self._has_room or self._parts.room.acquire(blocking=False)
        return self._has_room

    def _begin(self) -> None:
        try:
            self._begun = self._submission.begin(self._spool, self._options)
        except PromptmillError:
            self._starts_after = None  # the whole file is told why, or finds its earlier batch
            return
        if self._begun is not None:
            self._reading = _Reading(self._parts, self._begun, self._options)
            self._read(self._spool.pieces())

    def _read(self, pieces: "Iterator[bytes] | list[bytes]") -> None:
        reading = self._reading
        if reading is None:
            return
        try:
            for piece in pieces:
                reading.take(piece)
        except EndedMeanwhileError:
            self._detach()
        except UnavailableError as error:
            log.warning("the rest of an upload waits for its end", reason=error.message)
            self._detach()

    def _detach(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _keep_alive(self) -> None:
        """An upload that adds no line for long, for it repeats what is in, is not lost."""
        now = time.monotonic()
        number = self._begun.number if self._begun else None
        if number is None or now - self._seen_at < _SEEN_EVERY_S:
            return
        self._seen_at = now
        with suppress(UnavailableError):
            self._submission.note_fed(number)

    def _lose(self, error: Any) -> None:
        if self._begun is not None and self._reading is not None:
            with suppress(ConflictError, UnavailableError):
                self._submission.lose(self._begun, self._reading.taken.lines, error)
        self._detach()


@dataclass
class _Reading:
    """Lines of one upload on their way into its batch."""

    parts: EarlyUploads
    begun: Begun
    options: Options
    taken: Taken = field(init=False)

    def __post_init__(self) -> None:
        self.taken = Taken(self.begun.already)
        self._reader: LineReader = self.parts.submission.reader(self.options)
        self._seen = FirstLines()
        self._sample = self.parts.filler.sample()
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._starts = False
        self._noted = content_digest(self._hash.hexdigest(), self.options), 0

    def take(self, piece: bytes) -> None:
        """Write the lines that end in the next piece; raises as `Filler.write`."""
        for part in parts_of(piece, LINES_PER_TRANSACTION):
            self._hash.update(part)
            self._bytes += len(part)
            if part.endswith(b"\n"):
                self._noted = content_digest(self._hash.hexdigest(), self.options), self._bytes
            self._write(self._reader.ended_in(part))

    def finish(self, digest: str) -> None:
        """Write the line that has no end, if any, and seal the batch."""
        self._write(self._reader.rest())
        number = self.begun.number
        self.parts.filler.seal(
            number,
            self.options.project_id,
            self.options.priority,
            self.taken,
            self._sample,
            sealed=lambda connection: batches.note_content(connection, number, digest, None),
        )

    def close(self) -> None:
        """Give back what it remembers."""
        self._reader.close()
        self._seen.close()

    def _write(self, lines: Iterator[Line]) -> None:
        blocks = blocks_of(
            lines,
            self._seen,
            self._sample,
            deduplicate=self.options.deduplicate,
            after=self.begun.after,
        )
        for block in blocks:
            self.parts.filler.write(self.begun.number, block, self.taken, written=self._written)
            if self._starts:
                reach(FaultPoint.AFTER_START)
                self.parts.filler.ring()

    def _written(self, connection: Connection) -> None:
        number = self.begun.number
        batches.note_content(connection, number, *self._noted)
        batch = batches.by_number(connection, number)
        # Duplicates wait for an earlier line that is good, so they need not be taken off here.
        self._starts = (
            batch is not None
            and batch.status == BatchStatus.VALIDATING
            and batch.total > batch.rejected
        )
        if self._starts:
            batch_moves.start(connection, number, self.parts.submission.now())


def parts_of(piece: bytes, most_lines: int) -> Iterator[bytes]:
    """A piece cut behind line ends, into as many lines as are written at once, and its rest: what
    follows the last line end.
    """
    begin = at = 0
    lines = 0
    while (end := piece.find(b"\n", at)) >= 0:
        at = end + 1
        lines += 1
        if lines == most_lines:
            yield piece[begin:at]
            begin, lines = at, 0
    if begin < at:
        yield piece[begin:at]
    if at < len(piece):
        yield piece[at:]
