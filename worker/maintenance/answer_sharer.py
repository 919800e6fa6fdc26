"""Gives duplicates the end of the job they wait for, where whoever ended that job left some.

Recording shares an answer with the first few hundred in the transaction that writes it. The rest of
a larger family, and the duplicates of a job that the rescuer set aside, are shared here, a
transaction for every 2,000.

Horizon: 5 s; where a long look finds nothing, a hundred times as long as the look, at most 30 s.
"""

from datetime import datetime
from typing import Any, Final

import structlog

from shared.db.engine import Connection, Database
from shared.db.repositories import batch_moves, batches, duplicates, webhook_endpoints
from shared.db.repositories.duplicates import Family
from shared.domain.batch import RUNS

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 2000


class AnswerSharer:
    """Holds nothing: what is left to be shared stands in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Share all ends that are there; returns with how many jobs."""
        with self._database.reading() as connection:
            rows = batches.open_batches(connection, *RUNS)
            families = [_family(connection, row) for row in rows if row.duplicates]
            due = [family for family in families if duplicates.any_due(connection, family)]
        return sum(self._share_all(family, now) for family in due)

    def _share_all(self, family: Family, now: datetime) -> int:
        shared = 0
        while step := self._share(family, now):
            shared += step
        log.info("duplicates have their answers", batch=family.batch_id, jobs=shared)
        return shared

    def _share(self, family: Family, now: datetime) -> int:
        with self._database.transaction() as connection:
            progress = duplicates.share(connection, family, now, limit=_AT_ONCE)
            ended = progress.completed + progress.failed
            if ended:
                batch_moves.add_progress(connection, {family.number: progress}, now)
        return ended


def _family(connection: Connection, batch: Any) -> Family:
    endpoints = webhook_endpoints.wanting(connection, [batch.project_id])
    announced = any("job.completed" in endpoint.event_types for endpoint in endpoints)
    return Family(batch.number, batch.id, batch.project_id, announced)
