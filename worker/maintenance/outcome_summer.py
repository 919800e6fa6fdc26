"""Sums up by day what became of the jobs of batches that ended: what was saved, and where stronger
models were needed.

Each batch is summed up once, in one transaction with the mark that says so, whatever dies in
between; a retry takes it out again first. Horizon: 5 s after its end.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared.db.engine import Database
from shared.db.repositories import outcome_days

_BATCHES: Final = 500
_JOBS: Final = 100_000


class OutcomeSummer:
    """Holds nothing: what is still to be summed up stands in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Sum up what there is; returns how many batches."""
        summed = 0
        while count := self._some(now):
            summed += count
        return summed

    def _some(self, now: datetime) -> int:
        with self._database.reading() as connection:
            ended = outcome_days.unsummed(connection, _BATCHES, _JOBS)
            # Read outside of the transaction that writes: a large batch would hold others up.
            sums: Sequence[dict[str, object]] = (
                outcome_days.sums_of(connection, list(ended)) if ended else ()
            )
        if not ended:
            return 0
        with self._database.transaction() as connection:
            return len(ended) if outcome_days.add(connection, ended, sums, now) else 0
