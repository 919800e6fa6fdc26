"""Finds anew, as real costs arrive, what a dollar must bring in batches whose budget is allotted.

Workers read the price with each chunk they claim. Where nobody finds it anew the last one stays:
the batch is answered all the same, only less well or with its last jobs held, and its cap is the
ledger's in any case.
Horizon: 1 s.
"""

from datetime import datetime
from typing import Any

from shared.db.engine import Connection, Database
from shared.db.repositories import batch_plans
from shared.deciding.allotting import Allotment, Curve, Progress, allot


class BudgetAllotter:
    """Holds nothing: curves, prices and costs stand in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Look at each such batch; returns how many got another price."""
        del now
        with self._database.reading() as connection:
            running = batch_plans.allotted(connection)
        return sum(self._renew(row) for row in running)

    def _renew(self, row: Any) -> bool:
        stored = row.allotment
        before = Allotment.from_dict(stored["allotment"])
        progress = _progress(row, stored["last_nusd"])
        if progress is None or (progress.ended == before.ended and row.cap_nusd == stored["cap"]):
            return False
        after = allot(Curve.from_dict(stored["curve"]), progress, before, stored["believed"])
        with self._database.transaction() as connection:
            self._keep(connection, row, after)
        return after.gain_per_usd != before.gain_per_usd

    def _keep(self, connection: Connection, row: Any, after: Allotment) -> None:
        kept = {**row.allotment, "allotment": after.to_dict(), "cap": row.cap_nusd}
        batch_plans.set_allotment(connection, row.number, kept, after.gain_per_usd)


def _progress(row: Any, last_nusd: int) -> Progress | None:
    jobs = row.total - row.rejected - row.duplicates
    ended = row.completed + row.failed + row.cancelled + row.expired - row.rejected
    if jobs < 1 or row.cap_nusd is None:
        return None
    share = jobs / max(1, row.total - row.rejected)
    return Progress(
        jobs,
        min(jobs, round(ended * share)),
        row.cap_nusd,
        row.cost_nusd,
        min(last_nusd, row.cap_nusd // 2),
    )
