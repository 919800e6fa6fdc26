"""Ends batches that nobody else ends: those out of time, called off, or left half taken in.

* A batch over its completion window starts nothing new: its waiting jobs expire, its calls in
  flight are finished and kept, then it ends as `expired`.
* A cancellation whose caller died half way, or did not wait for a large batch, is finished; jobs
  that a rescue puts back into a batch that is ending are ended too.
* A batch whose upload died is ended after 15 minutes without a new line: the lines taken in are
  cancelled (each gets its error row), the batch fails with `upload_lost` and its idempotency key is
  free again. Lines first, the batch last, so a crash in between only repeats it. One that ran
  already while it was filled is `cancelling` from then on, with the same error: what has begun is
  finished and kept, what has not is cancelled.
* A retry whose caller died half way, or did not wait for a large batch, is finished: its failed
  jobs go back into the queue.
* A batch whose last job ended unnoticed is closed.

Horizon: 2 s, and about a second for each 10,000 jobs that still waited or are tried again; for lost
uploads 15 minutes after this process first saw their last line, in which the database took writes
all the while (`uptime`): an outage keeps an upload that lives from growing, too.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, jobs, retrying
from shared.domain.batch import TAKES_LINES, UPLOAD_CUT_SHORT, UPLOAD_LOST, BatchStatus
from shared.domain.job import JobStatus
from shared.errors import ConflictError
from worker.maintenance.uptime import Uptime

log = structlog.get_logger(__name__)

UPLOAD_LOST_AFTER = timedelta(minutes=15)
STEPS_AT_ONCE = 50
"""Transactions of 1,000 jobs each before other batches are looked at again."""

_ENDS = {
    BatchStatus.CANCELLING: JobStatus.CANCELLED,
    BatchStatus.FINALIZING: JobStatus.EXPIRED,
}


class BatchCloser:
    """Remembers in memory how far each upload was. uptime: of the database; None: taken for
    unbroken.
    """

    def __init__(
        self,
        database: Database,
        *,
        uptime: Uptime | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._uptime = uptime
        self._pause = pause
        self._uploads: dict[int, tuple[tuple[int, datetime | None], datetime]] = {}

    def run_once(self, now: datetime) -> int:
        """Returns how many steps were taken; 0 where there is nothing more to do now."""
        with self._database.reading() as connection:
            rows = batches.open_batches(connection)
        if not rows:  # most looks of an idle mill end here
            self._uploads.clear()
            return 0
        with self._database.reading() as connection:
            overdue = batches.overdue(connection, now)
        moved = sum(self._begin_expiry(batch, now) for batch in overdue)
        with self._database.reading() as connection:
            rows = batches.open_batches(connection)
        moved += self._end_waiting(rows, now)
        moved += self._go_on_retrying(rows, now)
        moved += sum(self._bury(batch, now) for batch in self._lost_uploads(rows, now))
        return moved + self._close_finished([batch.number for batch in rows], now)

    def _begin_expiry(self, batch: Any, now: datetime) -> bool:
        try:
            with self._database.transaction() as connection:
                batch_moves.begin_expiry(connection, batch.number, now)
        except ConflictError:
            return False  # it ended meanwhile
        log.info("a batch is out of time", batch=batch.id)
        return True

    def _end_waiting(self, rows: Sequence[Any], now: datetime) -> int:
        """End the waiting jobs of those that are ending, in turn; returns how many steps it took.

        A step is a short transaction, and as long as it took the database is left to others: on
        SQLite whoever waits for the write lock only looks at times, and would find it taken.
        """
        return _in_turn(
            partial(self._end_some, row.number, end, now)
            for row in rows
            if (end := _ENDS.get(BatchStatus(row.status))) is not None and self._has_waiting(row)
        )

    def _go_on_retrying(self, rows: Sequence[Any], now: datetime) -> int:
        """Put failed jobs of those that are retried back, in the same manner."""
        return _in_turn(
            partial(self._retry_some, row.number, now)
            for row in rows
            if row.retry_at_line is not None
        )

    def _retry_some(self, number: int, now: datetime) -> bool:
        began = time.monotonic()
        has_more = retrying.take_step(self._database, number, now)
        self._pause(time.monotonic() - began)
        return has_more

    def _end_some(self, number: int, end: JobStatus, now: datetime) -> int:
        began = time.monotonic()
        with self._database.transaction() as connection:
            ended = jobs.end_waiting(connection, number, end, now)
        self._pause(time.monotonic() - began)
        return ended

    def _has_waiting(self, batch: Any) -> bool:
        with self._database.reading() as connection:
            counts = batches.counts(connection, batch)
        return bool(counts.queued or counts.held)

    def _close_finished(self, numbers: Sequence[int], now: datetime) -> int:
        """Closes through the verb everybody closes by; only where the row says it is finished."""
        with self._database.reading() as connection:
            rows = batches.open_batches(connection)
        finished = [
            row.number
            for row in rows
            if row.number in set(numbers)
            and row.status not in TAKES_LINES
            and row.total == row.completed + row.failed + row.cancelled + row.expired
        ]
        if not finished:
            return 0
        with self._database.transaction() as connection:
            return len(batch_moves.close_finished(connection, finished, now))

    def _lost_uploads(self, rows: Sequence[Any], now: datetime) -> list[Any]:
        uploading = {row.number: row for row in rows if row.status in TAKES_LINES}
        for number in self._uploads.keys() - uploading.keys():
            del self._uploads[number]
        could_grow_since = self._up_since(now)
        lost = []
        for number, row in uploading.items():
            state = row.total, row.fed_at
            known, since = self._uploads.get(number, (state, now))
            since = now if known != state else max(since, could_grow_since)
            self._uploads[number] = (state, since)
            if now - since >= UPLOAD_LOST_AFTER:
                lost.append(row)
        return lost

    def _up_since(self, now: datetime) -> datetime:
        if self._uptime is None:
            return datetime.min.replace(tzinfo=now.tzinfo)
        return self._uptime.since(now) or now

    def _bury(self, batch: Any, now: datetime) -> bool:
        if batch.status == BatchStatus.FILLING:
            return self._cut_short(batch, now)
        try:
            while self._end_some(batch.number, JobStatus.CANCELLED, now):
                pass
            with self._database.transaction() as connection:
                if jobs.end_waiting(connection, batch.number, JobStatus.CANCELLED, now):
                    return False  # a line came in just now
                batch_moves.reject(connection, batch.number, UPLOAD_LOST, now)
                batches.free_key(connection, batch.number)
        except ConflictError:
            return False  # the upload lives after all: what was cancelled stays so
        log.warning("an upload was lost", batch=batch.id, lines=batch.total)
        return True

    def _cut_short(self, batch: Any, now: datetime) -> bool:
        try:
            with self._database.transaction() as connection:
                batch_moves.lose(connection, batch.number, batch.total, UPLOAD_CUT_SHORT, now)
        except ConflictError:
            return False  # the upload lives after all
        log.warning("the rest of an upload was lost", batch=batch.id, lines=batch.total)
        return True


def _in_turn(steps_of: Iterable[Callable[[], int]]) -> int:
    """Take steps of several batches in turn, each until its function says that there is no more;
    returns how many were taken.
    """
    open_ones = list(steps_of)
    steps = 0
    while open_ones and steps < STEPS_AT_ONCE:
        for step in tuple(open_ones):
            steps += 1
            if not step():
                open_ones.remove(step)
    return steps
