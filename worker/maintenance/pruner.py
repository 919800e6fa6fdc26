"""Deletes what nobody may still want: old batches whole, old deliveries and events, dead spools.

Batches that ended longer ago than the retention go with their requests, results and attempts; what
they cost stays in the sums per window (`spend`), from which budgets are kept, and what became of
their jobs in those by day (`outcome_days`). Announcements of days
and months go after two months, spool files a day after they were last written.

Horizon: an hour. Works in steps of 2,000 rows, so writers wait for milliseconds at most.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from shared.clock import utc_now
from shared.db.engine import Connection, Database
from shared.db.repositories import retention, workers
from worker.maintenance.outcome_summer import OutcomeSummer

log = structlog.get_logger(__name__)

ANNOUNCED_FOR = timedelta(days=62)
SPOOL_KEPT_S = 86_400.0
_STEP = 2000
_BATCHES = 100


class Pruner:
    """`spool`: the folder in which uploads are kept while they are read."""

    def __init__(self, database: Database, *, retention_days: int, spool: Path) -> None:
        self._database = database
        self._kept = timedelta(days=retention_days)
        self._spool = spool
        self._summer = OutcomeSummer(database)

    def run_once(self, now: datetime) -> int:
        """Returns how many rows and files were deleted."""
        moment = now - self._kept
        deleted = self._batches(moment)
        deleted += self._repeat(lambda c: retention.delete_deliveries(c, moment, _STEP))
        deleted += self._repeat(lambda c: retention.delete_events(c, moment, _STEP))
        with self._database.transaction() as connection:
            deleted += retention.delete_announcements(connection, now - ANNOUNCED_FOR)
            workers.forget_old(connection, now)
        deleted += self._spool_files()
        if deleted:
            log.info("old rows and files were deleted", count=deleted)
        return deleted

    def _batches(self, moment: datetime) -> int:
        deleted = 0
        while True:
            with self._database.reading() as connection:
                numbers = retention.ended_before(connection, moment, _BATCHES)
            if not numbers:
                return deleted
            # What became of their jobs is kept in sums.
            self._summer.run_once(utc_now())
            for number in numbers:
                deleted += self._batch(number)

    def _batch(self, number: int) -> int:
        def step(connection: Connection) -> int:
            return retention.delete_jobs(connection, number, _STEP)

        deleted = self._repeat(step)
        with self._database.transaction() as connection:
            retention.delete_batch(connection, number)
        return deleted + 1

    def _repeat(self, step: Callable[[Connection], int]) -> int:
        deleted = 0
        while True:
            with self._database.transaction() as connection:
                count = step(connection)
            deleted += count
            if count < _STEP:
                return deleted

    def _spool_files(self) -> int:
        if not self._spool.is_dir():
            return 0
        deleted = 0
        oldest = time.time() - SPOOL_KEPT_S
        for path in self._spool.iterdir():
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
                deleted += 1
        return deleted
