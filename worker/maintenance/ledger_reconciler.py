"""Compares the budget's counters in Redis with the database, and mends the counters.

* Reservations older than a minute: without an intent in the database they are given back (their
  worker died before the intent was durable, and `confirm` refuses it now); those whose attempt has
  ended are settled at its price (the worker or the rescuer died between the two). Those with an
  open intent are calls under way, or the rescuer's business.
* Spent and reserved together lower than in the database: corrected at once, for that could
  overspend. Higher: corrected when two passes have seen the same, for a settlement may be on its
  way. A correction happens only if nothing moved while it was thought over.
* Limits: a lower one in the database counts at once, a higher one when two passes have seen it.
* Scopes that nobody will draw on again (past days and months, ended batches) are forgotten.

Horizon: 30 s for what is corrected at once, otherwise 60 s, and a minute more for reservations.
`python -m worker.maintenance.ledger_reconciler [--json]` does two passes now, compares the sums
with the cost rows too, prints what it found and exits 1 where a difference is left.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

import orjson
import structlog

from shared.budget.ledger import Ledger
from shared.budget.model import Balance, OpenReservation, Scope, ScopeKind
from shared.budget.windows import periods
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import budgets, reconciling
from shared.db.repositories.budgets import Purse
from shared.domain.attempt import AttemptStatus
from shared.errors import PromptmillError
from shared.redis_client import connect
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker.ledger_opening import LedgerOpener, purse_of
from worker.maintenance.reconciliation import Finding, Report

log = structlog.get_logger(__name__)

OLD_AFTER_S = 60.0
_PAGE = 500


class LedgerReconciler:
    """Remembers in memory what the last pass saw and did not mend."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        *,
        retention_days: int,
        old_after_s: float = OLD_AFTER_S,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._opener = LedgerOpener(database, ledger)
        self._retention = timedelta(days=retention_days)
        self._old_after_s = old_after_s
        self._seen: set[Finding] = set()

    def run_once(self, now: datetime) -> int:
        """Returns how many differences were mended."""
        report = self.reconcile(now)
        for finding in report.findings:
            if finding.mended:
                log.warning("the ledger was mended", kind=finding.kind, scope=finding.subject)
        return report.mended

    def reconcile(self, now: datetime, *, thorough: bool = False) -> Report:
        """One pass; `thorough` also adds up the cost rows (reads all of them)."""
        report = Report()
        self._opener.ensure_open()
        self._reservations(report)
        scopes = sorted(set(self._ledger.scopes()), key=lambda scope: scope.text)
        for scope in scopes:
            self._scope(scope, report)
        self._forget(scopes, now)
        if thorough:
            self._sums(report, now)
        self._seen = {finding for finding in report.findings if not finding.mended}
        return report

    def _reservations(self, report: Report) -> None:
        for page in _pages(self._ledger.overdue(self._old_after_s)):
            report.reservations += len(page)
            with self._database.reading() as connection:
                prices = reconciling.prices(connection, [held.attempt_id for held in page])
            for held in page:
                finding = self._reservation(held, prices.get(held.attempt_id))
                if finding is not None:
                    report.findings.append(finding)

    def _reservation(
        self, held: OpenReservation, price: tuple[AttemptStatus, int] | None
    ) -> Finding | None:
        if price is not None:
            status, cost = price
            if status is AttemptStatus.OPEN:
                return None
            (mended,) = self._ledger.settle([(held.attempt_id, cost)])
            kind = "reservation_of_an_ended_attempt"
            return Finding(kind, held.attempt_id, held.amount_nusd, cost, mended)
        finding = Finding(
            "reservation_without_intent", held.attempt_id, held.amount_nusd, None, mended=False
        )
        if not held.confirmed:
            (mended,) = self._ledger.reclaim([held.attempt_id])
        else:
            # Its intent was durable once, so its row has been deleted since: sure when seen twice.
            mended = finding in self._seen and self._ledger.release([held.attempt_id])[0]
        return _mended(finding) if mended else finding

    def _scope(self, scope: Scope, report: Report) -> None:
        (seen,) = self._ledger.balance([scope])
        if seen is None:
            return  # it lapsed, or the ledger was lost: the next pass sees it again
        report.scopes += 1
        with self._database.snapshot() as connection:
            purse = purse_of(connection, scope)
        for finding in (self._limit(seen, purse), self._spent(seen, purse)):
            if finding is not None:
                report.findings.append(finding)

    def _limit(self, seen: Balance, purse: Purse) -> Finding | None:
        if seen.limit_nusd == purse.limit_nusd:
            return None
        finding = Finding(
            "limit_differs", seen.scope.text, seen.limit_nusd, purse.limit_nusd, mended=False
        )
        lower = purse.limit_nusd is not None and (
            seen.limit_nusd is None or purse.limit_nusd < seen.limit_nusd
        )
        if not lower and finding not in self._seen:
            return finding
        self._ledger.set_limit(seen.scope, purse.limit_nusd)
        return _mended(finding)

    def _spent(self, seen: Balance, purse: Purse) -> Finding | None:
        opened = sum(purse.open_attempts.values())
        missing = purse.spent_nusd + opened - seen.spent_nusd - seen.reserved_nusd
        if missing > 0:
            finding = Finding(
                "spent_too_low", seen.scope.text, seen.spent_nusd, purse.spent_nusd, mended=False
            )
            corrected = self._ledger.correct(seen, seen.spent_nusd + missing)
            return _mended(finding) if corrected else None
        right = purse.spent_nusd + max(0, opened - seen.reserved_nusd)
        if seen.spent_nusd <= right:
            return None
        finding = Finding(
            "spent_too_high", seen.scope.text, seen.spent_nusd, purse.spent_nusd, mended=False
        )
        corrected = finding in self._seen and self._ledger.correct(seen, right)
        return _mended(finding) if corrected else finding

    def _forget(self, scopes: Iterable[Scope], now: datetime) -> None:
        day, month = periods(now)
        batches = [scope for scope in scopes if scope.kind is ScopeKind.BATCH]
        with self._database.reading() as connection:
            ended = reconciling.ended_batches(connection, [scope.key for scope in batches])
        for scope in scopes:
            over = (
                (scope.kind is ScopeKind.DAY and scope.period < day)
                or (scope.kind is ScopeKind.MONTH and scope.period < month)
                or (scope.kind is ScopeKind.BATCH and scope.key in ended)
            )
            if over:
                self._ledger.forget(scope)

    def _sums(self, report: Report, now: datetime) -> None:
        """Days whose cost rows are all still kept."""
        since = (now - self._retention).date().isoformat()
        with self._database.snapshot() as connection:
            sums = reconciling.day_sums(connection, since)
            rows = {
                (project, period): total
                for (project, kind, period), total in budgets.cost_row_sums(connection).items()
                if kind == "day" and period >= since and total
            }
        for key in sorted(sums.keys() | rows.keys()):
            if sums.get(key, 0) != rows.get(key, 0):
                subject = f"day:{key[0]}:{key[1]}"
                report.findings.append(
                    Finding(
                        "sums_differ_from_cost_rows",
                        subject,
                        sums.get(key, 0),
                        rows.get(key, 0),
                        mended=False,
                    )
                )


def _mended(finding: Finding) -> Finding:
    return Finding(
        finding.kind, finding.subject, finding.redis_nusd, finding.database_nusd, mended=True
    )


def _pages(reservations: Iterator[OpenReservation]) -> Iterator[list[OpenReservation]]:
    while page := list(islice(reservations, _PAGE)):
        yield page


def main() -> int:
    """Reconcile now; 0 when counters, sums and cost rows agree (or do so now)."""
    parser = argparse.ArgumentParser(prog="python -m worker.maintenance.ledger_reconciler")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    wanted = parser.parse_args()
    settings = Settings()
    configure_logging(level="warning", as_json=settings.log_json)
    database = Database(settings.resolved_database_url, pool_size=2)
    try:
        ledger = Ledger(connect(settings))
        reconciler = LedgerReconciler(database, ledger, retention_days=settings.retention_days)
        report = reconciler.reconcile(utc_now())
        if not report.agrees:
            time.sleep(1)  # long enough for a settlement on its way to arrive
        final = reconciler.reconcile(utc_now(), thorough=True)
    except PromptmillError as error:
        sys.stderr.write(f"promptmill: {error.message}\n")
        return 1
    finally:
        database.close()
    final.findings = [f for f in report.findings if f.mended] + final.findings
    text = orjson.dumps(final.to_dict()).decode() if wanted.json else "\n".join(final.lines())
    sys.stdout.write(text + "\n")
    return 0 if final.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
