"""Calling a batch off, trying its failed jobs again, and giving it more money."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from producer.options import window_of
from shared.budget.ledger import Ledger
from shared.budget.model import Scope, ScopeKind
from shared.db.engine import Connection, Database
from shared.db.repositories import batch_moves, batches, jobs, outcome_days, retrying
from shared.db.repositories.batches import BatchRow
from shared.domain.batch import TERMINAL, BatchStatus
from shared.domain.job import JobStatus
from shared.errors import ConflictError, NotFoundError

_ROUNDS: Final = 10
"""Transactions of up to 1,000 jobs that a request waits for; the batch closer ends the rest."""


class Steering:
    """What can be done to a batch after its submission; each verb returns the batch's new row.

    All raise NotFoundError where the project (None: any) has no such batch, and ConflictError where
    the batch's state does not allow it.
    """

    def __init__(
        self, database: Database, ledger: Ledger, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    def cancel(self, batch_id: str, project_id: str | None) -> BatchRow:
        """Start nothing more of it; calls in flight are finished, kept and charged.

        A batch of an uploaded file is `cancelling` at first, as OpenAI's clients expect to see it;
        the batch closer ends its waiting jobs within seconds.
        """
        with self._database.transaction() as connection:
            batch = find(connection, batch_id, project_id)
            number = batch.number
            batch_moves.cancel(connection, number, self._clock())
        for _ in range(_ROUNDS if batch.input_file_id is None else 0):
            with self._database.transaction() as connection:
                now = self._clock()
                if not jobs.end_waiting(connection, number, JobStatus.CANCELLED, now):
                    batch_moves.close_finished(connection, [number], now)
                    break
        return self._read(batch_id)

    def retry(self, batch_id: str, project_id: str | None) -> BatchRow:
        """Run the failed jobs of a completed batch again, in a new completion window. Where that
        is under way already (`retry_at_line`) it goes on; the batch closer does what is left.
        """
        with self._database.reading() as connection:
            batch = find(connection, batch_id, project_id)
        if batch.retry_at_line is None:
            self._reopen(batch)
        for _ in range(_ROUNDS):
            if not retrying.take_step(self._database, batch.number, self._clock()):
                break
        return self._read(batch_id)

    def _reopen(self, batch: BatchRow) -> None:
        if batch.status != BatchStatus.COMPLETED:
            raise ConflictError(
                f"only a completed batch can be retried; this one is {batch.status}",
                code="batch_not_retriable",
            )
        is_begun = False
        while not is_begun:
            with self._database.reading() as connection:
                if not retrying.failed_after(connection, batch.number, 0, 1):
                    raise ConflictError(
                        "no failed job of this batch can run again (refused lines stay failed)",
                        code="nothing_to_retry",
                    )
                summed = outcome_days.summed(connection, batch.number)
            with self._database.transaction() as connection:
                is_begun = outcome_days.take_out(connection, batch.number, summed)
                if is_begun:
                    expires_at = self._clock() + window_of(batch.completion_window)
                    batch_moves.reopen(connection, batch.number, expires_at)

    def resume(self, batch_id: str, project_id: str | None, max_cost_nusd: int | None) -> BatchRow:
        """Set what the batch may cost, where that is given; held jobs that fit go on within
        seconds.
        """
        with self._database.reading() as connection:
            batch = find(connection, batch_id, project_id)
        if batch.status in TERMINAL:
            raise ConflictError(
                f"a batch that is {batch.status} does not go on", code="batch_ended"
            )
        if max_cost_nusd is not None:
            self._set_cap(batch, max_cost_nusd)
        return self._read(batch_id)

    def _set_cap(self, batch: BatchRow, cap: int) -> None:
        scope = Scope(ScopeKind.BATCH, batch.id)
        lowered = batch.max_cost_nusd is None or cap < batch.max_cost_nusd
        if lowered:
            # Before the database too, so that nothing is admitted above the new cap meanwhile.
            self._ledger.set_limit(scope, cap)
        with self._database.transaction() as connection:
            batches.set_cap(connection, batch.number, cap)
        self._ledger.set_limit(scope, cap)

    def _read(self, batch_id: str) -> BatchRow:
        with self._database.reading() as connection:
            return find(connection, batch_id, None)


def find(connection: Connection, batch_id: str, project_id: str | None) -> BatchRow:
    """A batch by its public id; raises NotFoundError."""
    batch = batches.get(connection, batch_id, project_id)
    if batch is None:
        raise NotFoundError("there is no such batch in this project", code="batch_not_found")
    return batch
