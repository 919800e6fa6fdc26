"""Files: taking uploads in, finding them again, reading and deleting them.

The output and error file of a batch can be read from its first ended job on; they are written from
the results as they are read. They are listed, counted and can be deleted once the batch has ended.
Deleting one hides it; the batch's results stay where they are until the batch is pruned.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from producer.reporting.results import OutputPart, ResultReader
from producer.spool import TooLargeError
from producer.storage import Storage, Writer
from shared.db.engine import Connection, Database
from shared.db.repositories import batches, files
from shared.db.repositories.batches import BatchRow
from shared.db.repositories.files import OUTPUT_PURPOSE, FileRow, NewFile
from shared.domain.batch import OPEN, BatchStatus
from shared.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from shared.fault_points import FaultPoint, reach

log = structlog.get_logger(__name__)

BATCH_PURPOSE: Final = "batch"
PURPOSES: Final = ("assistants", BATCH_PURPOSE, "fine-tune", "vision", "user_data", "evals")
DEFAULT_NAME: Final = "upload"
SHORTEST_S: Final = 3600
LONGEST_S: Final = 30 * 86_400
ABANDONED_AFTER: Final = timedelta(days=2)
"""How long a content without a row may still be an upload under way."""
_BATCH_KEPT: Final = timedelta(days=30)
_MAX_NAME: Final = 255
_BATCH_ENDINGS: Final = (".jsonl", ".ndjson")
_STEP: Final = 200


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as its owner sees it. size: None where it is still being written or not counted."""

    id: str
    purpose: str
    filename: str
    size: int | None
    created_at: datetime
    expires_at: datetime | None
    is_complete: bool = True


class Upload:
    """A file being taken in: `write` its pieces, `keep` it, and `close` it in any case, which
    discards what was not kept.
    """

    def __init__(self, owner: "Files") -> None:
        self._owner = owner
        self._id = files.new_file_id()
        self._writer: Writer | None = None
        self._is_kept = False
        self.size = 0

    def close(self) -> None:
        """Leave nothing of it behind unless it was kept."""
        if self._writer is not None and not self._is_kept:
            self._writer.discard()

    def write(self, piece: bytes) -> None:
        """Take in the next piece; raises TooLargeError beyond the limit."""
        self.size += len(piece)
        if self.size > self._owner.max_bytes:
            raise TooLargeError(
                f"the file is larger than {self._owner.max_bytes} bytes: split it, or raise "
                "PROMPTMILL_MAX_UPLOAD_BYTES",
                param="file",
            )
        self._opened().write(piece)

    def keep(
        self, project_id: str, purpose: str | None, filename: str | None, expiry_s: int | None
    ) -> FileInfo:
        """The upload is complete: make it a file. Raises UsageError for what it cannot be."""
        checked_purpose(purpose)
        name = checked_name(filename, purpose)
        self._opened().finish()
        now = self._owner.clock()
        kept: timedelta | None = None
        if expiry_s is not None:
            kept = timedelta(seconds=expiry_s)
        elif purpose == BATCH_PURPOSE:
            kept = _BATCH_KEPT
        file = NewFile(
            id=self._id,
            project_id=project_id,
            purpose=str(purpose),
            filename=name,
            size=self.size,
            created_at=now,
            expires_at=None if kept is None else now + kept,
        )
        reach(FaultPoint.BEFORE_FILE_ROW)
        with self._owner.database.transaction() as connection:
            files.add(connection, file)
        reach(FaultPoint.AFTER_FILE_ROW)
        self._is_kept = True
        return FileInfo(self._id, file.purpose, name, self.size, now, file.expires_at)

    def _opened(self) -> Writer:
        if self._writer is None:
            self._writer = self._owner.storage.writer(self._id)
        return self._writer


class Files:
    """The files of all projects. Thread-safe.

    Verbs that take a file's id raise NotFoundError (`file_not_found`) where the project (None: any)
    has no such file, or none any more.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        results: ResultReader,
        *,
        max_bytes: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.database = database
        self.storage = storage
        self.max_bytes = max_bytes
        self.clock = clock
        self._results = results

    def upload(self) -> Upload:
        """Begin to take a file in."""
        return Upload(self)

    def info(self, file_id: str, project_id: str | None) -> FileInfo:
        """A file's own object."""
        with self.database.reading() as connection:
            row, batch = self._find(connection, file_id, project_id)
        if row is None:
            return _being_written(file_id, batch)
        return self._counted(row)

    def page(
        self,
        project_id: str,
        *,
        limit: int,
        after: str | None,
        newest_first: bool,
        purpose: str | None,
    ) -> tuple[list[FileInfo], bool]:
        """A page of the project's files, and whether more follow."""
        with self.database.reading() as connection:
            rows = files.page(
                connection,
                project_id,
                self.clock(),
                limit=limit + 1,
                after=after,
                newest_first=newest_first,
                purpose=purpose,
            )
        return [self._counted(row) for row in rows[:limit]], len(rows) > limit

    def content(self, file_id: str, project_id: str | None) -> tuple[str, Iterator[bytes]]:
        """A file's name and its bytes; those of a running batch's files are what is there now."""
        with self.database.reading() as connection:
            row, batch = self._find(connection, file_id, project_id)
        if row is None or row.batch_number is not None:
            name = _name_of(file_id, batch) if row is None else row.filename
            number = batch.number if row is None else row.batch_number
            return name, self._results.output(number, _part(file_id))
        return row.filename, self.storage.blocks(self.storage.reader(file_id))

    def delete(self, file_id: str, project_id: str | None) -> None:
        """Delete a file. A batch that has yet to read it still will.

        Raises ConflictError for the output of a batch that runs.
        """
        with self.database.transaction() as connection:
            row, _ = self._find(connection, file_id, project_id)
            if row is None:
                raise ConflictError(
                    "the batch is still writing this file: cancel the batch or wait for its end",
                    code="file_in_use",
                )
            if not files.mark_deleted(connection, file_id, self.clock()):
                raise _unknown()
        try:
            self.clear(self.clock())
        except UnavailableError as error:
            log.warning("a deleted file stays for now", reason=error.message)

    def clear(self, now: datetime) -> int:
        """Remove what is deleted or expired and not needed any more; returns how many files."""
        cleared = 0
        while True:
            with self.database.reading() as connection:
                rows = files.removable(connection, now, _STEP)
            for row in rows:
                if row.batch_number is None:
                    self.storage.remove(row.id)
            if rows:
                with self.database.transaction() as connection:
                    files.remove(connection, [row.id for row in rows])
            cleared += len(rows)
            if len(rows) < _STEP:
                return cleared

    def sweep(self, now: datetime) -> int:
        """Remove contents that uploads left behind which died; returns how many."""
        old = self.storage.ids_before(now - ABANDONED_AFTER)
        swept = 0
        for start in range(0, len(old), _STEP):
            some = old[start : start + _STEP]
            with self.database.reading() as connection:
                kept = files.known(connection, some)
            for file_id in (name for name in some if name not in kept):
                self.storage.remove(file_id)
                swept += 1
        return swept

    def _find(
        self, connection: Connection, file_id: str, project_id: str | None
    ) -> tuple[FileRow | None, Any]:
        """The file's row, or None and the running batch that is writing it."""
        row = files.get(connection, file_id, project_id, self.clock())
        if row is not None:
            return row, None
        batch_id = files.batch_of_output(file_id)
        batch = None if batch_id is None else batches.get(connection, batch_id, project_id)
        if batch is None or batch.status not in OPEN or file_id not in written_ids(batch):
            raise _unknown()
        return None, batch

    def _counted(self, row: FileRow) -> FileInfo:
        size = row.bytes
        if size is None:
            size = sum(map(len, self._results.output(row.batch_number, _part(row.id))))
            with self.database.transaction() as connection:
                files.set_bytes(connection, row.id, size)
        return FileInfo(row.id, row.purpose, row.filename, size, row.created_at, row.expires_at)


def written_ids(batch: BatchRow) -> Sequence[str]:
    """The ids of a batch's output and error file, of those that have a line by now."""
    if batch.input_file_id is None or batch.status == BatchStatus.FAILED:
        return ()  # a failed batch ran nothing: its bad lines are told in its errors
    output, error = files.output_ids(batch.id)
    failed = batch.failed + batch.cancelled + batch.expired
    return tuple(
        file_id for file_id, lines in ((output, batch.completed), (error, failed)) if lines
    )


def checked_purpose(purpose: str | None) -> None:
    """Raises UsageError for what is no purpose of an upload."""
    if not purpose:
        raise UsageError(
            "Missing required parameter: 'purpose'.",
            code="missing_required_parameter",
            param="purpose",
        )
    if purpose not in PURPOSES:
        raise UsageError(
            f"purpose is one of {', '.join(PURPOSES)}", code="invalid_value", param="purpose"
        )


def checked_name(filename: str | None, purpose: str | None) -> str:
    """The name a file is kept under; raises UsageError."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2] or DEFAULT_NAME
    if len(name) > _MAX_NAME or "\x00" in name:
        raise UsageError(
            f"the file's name must have at most {_MAX_NAME} characters and no NUL",
            code="invalid_value",
            param="file",
        )
    ending = f".{name.rpartition('.')[2].lower()}" if "." in name else None
    if purpose == BATCH_PURPOSE and ending is not None and ending not in _BATCH_ENDINGS:
        raise UsageError(
            "Invalid file format for Batch API. Must be .jsonl",
            code="invalid_file_format",
            param="file",
        )
    return name


def checked_expiry(anchor: object, seconds: object, param: str) -> int | None:
    """Seconds of OpenAI's `{anchor: "created_at", seconds}`; None where neither is given."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise UsageError(
            f'{param}.anchor must be "created_at"', code="invalid_value", param=f"{param}.anchor"
        )
    is_whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not isinstance(seconds, int) or not is_whole or not SHORTEST_S <= seconds <= LONGEST_S:
        raise UsageError(
            f"{param}.seconds must be a whole number from {SHORTEST_S} to {LONGEST_S}",
            code="invalid_value",
            param=f"{param}.seconds",
        )
    return seconds


def _being_written(file_id: str, batch: BatchRow) -> FileInfo:
    name = _name_of(file_id, batch)
    began = batch.in_progress_at or batch.created_at
    return FileInfo(file_id, OUTPUT_PURPOSE, name, None, began, None, is_complete=False)


def _name_of(file_id: str, batch: BatchRow) -> str:
    return f"{batch.id}_{file_id.rpartition('-')[2]}.jsonl"


def _part(file_id: str) -> OutputPart:
    return OutputPart(file_id.rpartition("-")[2])


def _unknown() -> NotFoundError:
    return NotFoundError("No such File object in this project.", code="file_not_found")
