"""Takes jobs back from workers that are gone, and charges what these may have bought.

A worker renews its leases; one that was killed, hangs or lost the database does not. Whatever call
of it was under way may have reached the provider, so its attempt is charged at its reservation and
marked unconfirmed, in the transaction that gives the job back. A job that has cost its worker its
life `max_deaths` times is set aside as failed, so that one poisonous prompt cannot kill them all;
which of a worker's jobs it was tells the mark that the worker left (`shared.domain.blame`).

A database that does not answer keeps living workers from renewing their leases too, and they hold
answers that were paid for. So nothing is taken from anybody before the database has taken writes
for a lease without a gap (`uptime`). That is enough: a gap is longer than half a lease, a claim is
good for two thirds of one at any time, and a heart beats six times in one.

Horizon: a lease (15 s) and 2 s after the worker's last sign of life; after an outage of the
database, or where this process has only just begun to watch over it, a lease and 2 s from then.
"""

from collections.abc import Collection, Mapping, Sequence
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
from shared.domain.blame import BlameRule, Guilt
from shared.domain.job import JobStatus, batch_number_of
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.ids import claimant_of
from worker.maintenance.uptime import Uptime
from worker.work_marks import LeftMarks, Mark

log = structlog.get_logger(__name__)

POISON = "poison"
_AT_ONCE = 500


class JobRescuer:
    """`max_deaths`: how many workers a job may cost before it is set aside. `uptime`: of the
    database, which has to be `lease_s` long; None: whoever asks knows that there was no outage.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        marks: LeftMarks,
        *,
        max_deaths: int,
        uptime: Uptime | None = None,
        lease_s: float = 15.0,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._marks = marks
        self._rule = BlameRule(max_deaths)
        self._uptime = uptime
        self._lease = timedelta(seconds=lease_s)

    def run_once(self, now: datetime) -> int:
        """Rescue all whose lease is over; returns how many."""
        return self._rescue_all(now) if self._may_judge(now) else 0

    def _may_judge(self, now: datetime) -> bool:
        """Whether every living worker could renew its leases. What lapsed before `now` may then be
        taken later, too: should the database hang from now on, leases that lapse meanwhile are none
        of these.
        """
        if self._uptime is None:
            return True
        since = self._uptime.since(now)
        return since is not None and now - since >= self._lease

    def _rescue_all(self, now: datetime) -> int:
        rescued = 0
        while True:
            with self._database.reading() as connection:
                tokens = job_claims.lapsed_claims(connection, now, _AT_ONCE)
            if not tokens:
                return rescued
            marks = self._marks_left_by({claimant_of(token) for token in tokens})
            with self._database.transaction() as connection:
                # Those that lapsed since have their turn next: their worker's mark was not read.
                lapsed = [
                    row
                    for row in job_claims.lapsed(connection, now, _AT_ONCE)
                    if row.claim_token in tokens
                ]
                charged = self._rescue(connection, lapsed, marks, now)
                if lapsed:
                    reach(FaultPoint.BEFORE_RESCUE_COMMIT)
            if not lapsed:
                return rescued
            reach(FaultPoint.AFTER_RESCUE)
            self._settle(charged)
            rescued += len(lapsed)
            log.warning("jobs were rescued", jobs=len(lapsed), unconfirmed=len(charged))

    def _marks_left_by(self, claimants: Collection[str]) -> Mapping[str, Mark]:
        try:
            return self._marks.of(claimants)
        except UnavailableError as error:
            log.warning("jobs are rescued without their marks", reason=error.message)
            return {}

    def _rescue(
        self,
        connection: Connection,
        lapsed: Sequence[Any],
        marks: Mapping[str, Mark],
        now: datetime,
    ) -> list[Intent]:
        intents = attempts.open_of_jobs(connection, [row.id for row in lapsed])
        progress = attempts.close(connection, [_unconfirmed(intent, now) for intent in intents])
        poisonous: list[tuple[int, int]] = []  # job and deaths
        others: dict[Guilt, list[int]] = {}
        for row in lapsed:
            guilt = self._guilt(row, marks.get(claimant_of(row.claim_token)))
            deaths, blamed = row.deaths + guilt.deaths, row.blamed + guilt.blamed
            if self._rule.is_poison(deaths, blamed):
                poisonous.append((row.id, deaths))
            else:
                others.setdefault(guilt, []).append(row.id)
        for guilt, ids in others.items():
            job_claims.rescue(connection, ids, guilt)
        self._set_aside(connection, poisonous, progress, now)
        return intents

    def _guilt(self, row: Any, mark: Mark | None) -> Guilt:
        is_marked = mark == (row.id, row.claim_token)
        return self._rule.guilt(row.deaths, is_marked=is_marked, is_any_marked=mark is not None)

    def _set_aside(
        self,
        connection: Connection,
        poisonous: Sequence[tuple[int, int]],
        progress: Mapping[int, Progress],
        now: datetime,
    ) -> None:
        ids = [job_id for job_id, _ in poisonous]
        bought = attempts.of_jobs(connection, ids)
        rows = [
            _poisoned(job_id, deaths, bought.get(job_id, ()), now) for job_id, deaths in poisonous
        ]
        job_claims.finish(connection, rows)
        batch_moves.add_progress(connection, _with_failed(progress, set(ids)), now)

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


def _poisoned(job_id: int, deaths: int, bought: Sequence[Any], now: datetime) -> Mapping[str, Any]:
    return {
        "job_id": job_id,
        "status": JobStatus.FAILED.value,
        "error": {
            "code": POISON,
            "message": f"It killed its worker {deaths} times and was set aside.",
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
