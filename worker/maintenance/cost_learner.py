"""Learns from batches that ended what their answers cost, for the plans of the next ones.

Each batch is learned once, in one transaction with the mark that says so, whatever dies in between.
Horizon: 5 s after its end; until then a plan knows nothing of it.
Weakness: two task types that a project uses for very different prompts share one figure.
"""

from datetime import datetime
from typing import Any

from shared.db.engine import Database
from shared.db.repositories import batch_plans, cost_tallies


class CostLearner:
    """Holds nothing: what is still to be learned stands in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Learn what there is; returns from how many batches."""
        with self._database.reading() as connection:
            waiting = batch_plans.to_learn(connection)
        return sum(self._learn(batch, now) for batch in waiting)

    def _learn(self, batch: Any, now: datetime) -> bool:
        with self._database.reading() as connection:
            sums = cost_tallies.sums_of_batch(connection, batch.number, batch.total)
        with self._database.transaction() as connection:
            if not batch_plans.mark_learned(connection, batch.number, now):
                return False
            cost_tallies.add_batch(connection, batch.project_id, sums, now)
        return True
