"""Filling a batch: lines become jobs in blocks, and run once the last one is in; or earlier, where
whoever fills it lets them (`producer/early_upload.py`).

A batch that ends meanwhile (it was cancelled or given up) takes no further line. A batch that was
half filled by somebody who died can be filled on from the line after the last one that is in; of
two that fill one batch with the same file at once, the one that a block of the other overtakes
stops.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from producer.blocks import Block, blocks_of
from producer.intake import FirstLines, Line, RejectedLine
from producer.planning.forecaster import Forecaster
from producer.planning.plan import Forecast, Sample
from shared.chunking import chunks_of, ranges_text
from shared.db.engine import Connection, Database
from shared.db.repositories import batch_moves, batch_plans, batches, jobs, staging
from shared.db.repositories.batches import BatchRow
from shared.domain.batch import TAKES_LINES, BatchStatus, Endpoint, Priority
from shared.domain.job import job_id_of
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher

log = structlog.get_logger(__name__)

REJECTED_SHOWN: Final = 10_000
_DIRECT_LEASE: Final = timedelta(seconds=30)
"""How long a chunk that was published here may wait in its queue before the stager looks for it."""

NO_VALID_LINES: Final = {
    "code": "no_valid_lines",
    "message": "no line of the file can run; each has its reason in the results",
}

Fence = Callable[[Connection], None]
"""Called within each transaction that writes to the batch; raises to take it back and stop."""


class EndedMeanwhileError(Exception):
    """The batch was cancelled or given up while its lines were being written."""


class OvertakenError(EndedMeanwhileError):
    """Somebody else has written lines of it since."""


@dataclass(slots=True)
class Taken:
    """What was written of a batch by one filling. `lines`: in all, with those of earlier ones."""

    lines: int = 0
    rejected_count: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)
    first_good: list[int] = field(default_factory=list)


def _no_fence(_connection: Connection) -> None:
    """Whoever made the batch is the only one that fills it."""


class Filler:
    """Writes lines into batches. Thread-safe: holds no state of a batch.

    chunk_size: batches of at most so many good lines are queued here, larger ones by the stager,
    which is called by `ring`.
    """

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        forecaster: Forecaster,
        *,
        chunk_size: int,
        clock: Callable[[], datetime],
        ring: Callable[[], None],
    ) -> None:
        self._database = database
        self._publisher = publisher
        self.ring = ring
        self._forecaster = forecaster
        self._chunk_size = chunk_size
        self._clock = clock

    def fill(
        self,
        number: int,
        lines: Iterable[Line],
        project_id: str,
        priority: Priority,
        *,
        already: int = 0,
        after: int = 0,
        deduplicate: bool | None = None,
        fence: Fence = _no_fence,
        sealed: Fence = _no_fence,
    ) -> Taken:
        """Write a batch's lines and let its jobs run; `sealed` is called in the transaction that
        ends the filling. Where the batch ended meanwhile, what is in by then is all; where somebody
        else fills it, the rest is left to them.

        lines: all of them from the first on; `already` of them, those up to line `after`, are in.
        deduplicate: whether lines that ask the same are asked once; None: unless they ask for
        variety. A line with `cache: false` always is asked for itself.
        """
        taken = Taken(already)
        sample = self.sample()
        try:
            with FirstLines() as seen:
                blocks = blocks_of(lines, seen, sample, deduplicate=deduplicate, after=after)
                for block in blocks:
                    self.write(number, block, taken, fence)
            self.seal(number, project_id, priority, taken, sample, fence=fence, sealed=sealed)
        except OvertakenError:
            log.info("another upload of this file fills the batch", batch_number=number)
            return taken
        except EndedMeanwhileError:
            log.warning("the batch ended before its last line was in", batch_number=number)
        return taken

    def sample(self) -> Sample:
        """What a batch is forecast by; all its lines are to be shown to it (`blocks_of`)."""
        return self._forecaster.sample()

    def write(
        self,
        number: int,
        block: Block,
        taken: Taken,
        fence: Fence = _no_fence,
        written: Fence = _no_fence,
    ) -> None:
        """Write one block after the lines that are `taken`; `written` is called in its transaction
        when it is in. Raises EndedMeanwhileError, and OvertakenError where somebody else fills it.
        """
        lines, bad = block.lines, block.rejected
        with self._database.transaction() as connection:
            fence(connection)
            # Locks the batch first, so that a cancellation comes wholly before or after the block.
            batches.add_taken(
                connection, number, lines=len(lines), rejected=len(bad), duplicates=block.repeats
            )
            _still_ours(connection, number, taken.lines + len(lines))
            jobs.insert_lines(connection, number, lines, self._clock())
            written(connection)
        reach(FaultPoint.AFTER_BLOCK)
        taken.lines += len(lines)
        taken.rejected_count += len(bad)
        taken.rejected.extend(bad[: REJECTED_SHOWN - len(taken.rejected)])
        room = self._chunk_size + 1 - len(taken.first_good)
        good = (made.line for made in lines if made.request and made.duplicate_of is None)
        taken.first_good.extend(line for _, line in zip(range(room), good, strict=False))

    def seal(
        self,
        number: int,
        project_id: str,
        priority: Priority,
        taken: Taken,
        sample: Sample,
        *,
        fence: Fence = _no_fence,
        sealed: Fence = _no_fence,
    ) -> None:
        """All lines are `taken`, and were shown to the `sample`: let the jobs run. Raises as
        `write`.
        """
        expected = self._forecaster.forecast(project_id, number, sample)

        def told(connection: Connection) -> None:
            sealed(connection)
            if 0 < sample.seen == sample.embeds:
                batches.set_endpoint(connection, number, Endpoint.EMBEDDINGS)

        messages = self._sealed(number, priority, taken, expected, fence, told)
        reach(FaultPoint.AFTER_SEAL)
        self._publish(messages, project_id, priority)

    def _sealed(
        self,
        number: int,
        priority: Priority,
        taken: Taken,
        expected: Forecast,
        fence: Fence,
        sealed: Fence,
    ) -> list[ChunkMessage]:
        """Let the jobs run; what is returned is to be published after the commit."""
        now = self._clock()
        with self._database.transaction() as connection:
            fence(connection)
            batches.lock(connection, number)  # two who took in the last line must not both seal
            batch = _still_ours(connection, number, taken.lines)
            sealed(connection)
            good = batch.total - batch.rejected - batch.duplicates
            ran_already = batch.status == BatchStatus.FILLING
            if not good:
                batch_moves.reject(connection, number, NO_VALID_LINES, now)
                return []
            batch_plans.add(connection, number, expected.told, now)
            if (spread := expected.allotted) is not None:
                price = spread.allotment.gain_per_usd
                batch_plans.set_allotment(connection, number, spread.stored(), price)
            if expected.pilot is not None and not ran_already:
                batch_plans.begin_pilot(connection, number, expected.pilot.to_dict())
            batch_moves.seal(connection, number, now)
            reach(FaultPoint.BEFORE_SEAL_COMMIT)
            if (
                expected.pilot is not None
                or ran_already
                or good != len(taken.first_good)
                or good > self._chunk_size
            ):
                return []  # the stager's already; a larger one; or filled on after somebody else
            ids = [job_id_of(number, line) for line in taken.first_good]
            staging.mark_staged(connection, ids, now + _DIRECT_LEASE)
        size = 1 if priority is Priority.INTERACTIVE else self._chunk_size
        return [
            ChunkMessage(batch.id, number, ranges_text(lines))
            for lines in chunks_of(taken.first_good, size)
        ]

    def _publish(
        self, messages: Sequence[ChunkMessage], project_id: str, priority: Priority
    ) -> None:
        if not messages:
            self.ring()
            return
        try:
            self._publisher.publish(messages, project_id, priority)
        except UnavailableError as error:
            # Nothing is lost: the stager finds the jobs when their lease is over.
            log.warning("a new batch waits for the broker", reason=error.message)


def _still_ours(connection: Connection, number: int, lines: int) -> BatchRow:
    batch = batches.by_number(connection, number)
    if batch is None:
        raise EndedMeanwhileError
    if batch.status not in TAKES_LINES:
        is_sealed = batch.in_progress_at is not None and batch.content_bytes is None
        raise OvertakenError if is_sealed else EndedMeanwhileError
    # Lines of it are cancelled while it is being given up as lost, before its status says so.
    if batch.status == BatchStatus.VALIDATING and batch.cancelled:
        raise EndedMeanwhileError
    if batch.total != lines:
        raise OvertakenError
    return batch
