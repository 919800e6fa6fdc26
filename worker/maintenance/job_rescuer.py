"""Takes jobs back from workers that are gone, and charges what these may have bought.

A worker renews its leases; one that was killed, hangs or lost the database does not. Whatever call
of it was under way may have reached the provider, so its attempt is charged at its reservation and
marked unconfirmed, in the transaction that gives the job back. A job that has cost its worker its
life `max_deaths` times is set aside as failed, so that one poisonous prompt cannot kill them all.

A database that did not answer kept living workers from renewing their leases too: after that they
get a lease's time before anything is taken from them, for they hold answers that were paid for.

Horizon: a lease (15 s) and 2 s after the worker's last sign of life; after an outage of the
database another lease.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from shared.budget.errors import LedgerUnavailable
from shared.budget.ledger import Ledger
from shared.db.engine import Connection, Database
from shared.db.repositories import attempts, batch_moves, job_claims
from shared.db.repositories.attempts import Closing, Intent
from shared.db.repositories.batch_moves import Progress
from shared.domain.attempt import AttemptStatus
from shared.domain.job import JobStatus, batch_number_of
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach

log = structlog.get_logger(__name__)

POISON = "poison"
_AT_ONCE = 500


class JobRescuer:
    """`max_deaths`: how many workers a job may cost before it is set aside. `lease_s`: how long
    workers have to show up again after an outage of the database.
    """

    def __init__(
        self, database: Database, ledger: Ledger, *, max_deaths: int, lease_s: float = 15.0
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._max_deaths = max_deaths
        self._lease = timedelta(seconds=lease_s)
        self._was_blind = False
        self._not_before: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Rescue all whose lease is over; returns how many."""
        began = time.monotonic()
        try:
            rescued = 0 if self._must_wait(now) else self._rescue_all(now)
        except UnavailableError:
            self._was_blind = True
            raise
        # A look that hung for so long and came back was an outage too.
        self._was_blind = time.monotonic() - began > self._lease.total_seconds() / 2
        return rescued

    def _must_wait(self, now: datetime) -> bool:
        if self._was_blind:
            self._database.ping()
            self._not_before = now + self._lease
        return self._not_before is not None and now < self._not_before

    def _rescue_all(self, now: datetime) -> int:
        rescued = 0
        while True:
            with self._database.reading() as connection:
                if not job_claims.lapsed(connection, now, 1):
                    return rescued
            with self._database.transaction() as connection:
                lapsed = job_claims.lapsed(connection, now, _AT_ONCE)
                charged = self._rescue(connection, lapsed, now)
                if lapsed:
                    reach(FaultPoint.BEFORE_RESCUE_COMMIT)
            if lapsed:
                reach(FaultPoint.AFTER_RESCUE)
            self._settle(charged)
            rescued += len(lapsed)
            if lapsed:
                log.warning("jobs were rescued", jobs=len(lapsed), unconfirmed=len(charged))
            if len(lapsed) < _AT_ONCE:
                return rescued

    def _rescue(self, connection: Connection, lapsed: Sequence[Any], now: datetime) -> list[Intent]:
        intents = attempts.open_of_jobs(connection, [row.id for row in lapsed])
        progress = attempts.close(connection, [_unconfirmed(intent, now) for intent in intents])
        poisonous = [row for row in lapsed if row.deaths + 1 >= self._max_deaths]
        poison_ids = {row.id for row in poisonous}
        job_claims.rescue(connection, [row.id for row in lapsed if row.id not in poison_ids])
        bought = attempts.of_jobs(connection, list(poison_ids))
        job_claims.finish(
            connection, [_poisoned(row, bought.get(row.id, ()), now) for row in poisonous]
        )
        batch_moves.add_progress(connection, _with_failed(progress, poison_ids), now)
        return intents

    def _settle(self, charged: Sequence[Intent]) -> None:
        if not charged:
            return
        try:
            self._ledger.settle([(intent.id, intent.reserved_nusd) for intent in charged])
        except LedgerUnavailable as error:
            # The database has the price: the reconciler settles what is still reserved.
            log.warning("settlement left to the reconciler", reason=error.message)


def _unconfirmed(intent: Intent, now: datetime) -> Closing:
    return Closing(
        intent,
        AttemptStatus.UNCONFIRMED,
        intent.reserved_nusd,
        now,
        error_kind="worker_lost",
        error_message="its worker was lost during the call, which may be on the provider's bill",
    )


def _poisoned(row: Any, bought: Sequence[Any], now: datetime) -> Mapping[str, Any]:
    times = row.deaths + 1
    return {
        "job_id": row.id,
        "status": JobStatus.FAILED.value,
        "error": {
            "code": POISON,
            "message": f"It killed its worker {times} times and was set aside.",
        },
        "attempts": len(bought),
        "cost_nusd": sum(attempt.cost_nusd for attempt in bought),
        "ended_at": now,
    }


def _with_failed(progress: Mapping[int, Progress], failed: set[int]) -> dict[int, Progress]:
    counted: dict[int, int] = {}
    for job_id in failed:
        number = batch_number_of(job_id)
        counted[number] = counted.get(number, 0) + 1
    merged = dict(progress)
    for number, count in counted.items():
        merged[number] = merged.get(number, Progress()) + Progress(failed=count)
    return merged
