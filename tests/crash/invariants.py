"""What must hold when the dust has settled, whatever was killed; the provider's bill is witness.

`check` raises AssertionError where it does not, and returns the figures where it does.
"""

from collections import Counter
from dataclasses import dataclass

from shared.budget.model import Scope
from shared.clock import utc_now
from shared.db.repositories import budgets
from shared.domain.batch import is_awaited
from tests.crash.plant import Plant
from worker.ledger_opening import purse_of
from worker.maintenance.ledger_reconciler import LedgerReconciler

_TERMINAL = {"completed", "failed", "cancelled", "expired"}
_PASSES = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Money in nano-dollars. `lost`: attempts charged because their worker was lost."""

    jobs: int
    completed: int
    calls: int
    bill_nusd: int
    charged_nusd: int
    unconfirmed_nusd: int
    unconfirmed: int
    lost: int


def check(plant: Plant) -> Figures:
    """Check everything; every batch has ended or stands still with held jobs."""
    _check_jobs(plant)
    _check_sums(plant)
    figures = _check_bill(plant)
    _check_events(plant)
    _check_ledger(plant)
    return figures


def _check_jobs(plant: Plant) -> None:
    status = {row.id: row.status for row in plant.rows("SELECT id, status FROM jobs")}
    results = [(row.job_id, row.status) for row in plant.rows("SELECT job_id, status FROM results")]
    ended = {job: state for job, state in status.items() if state in _TERMINAL}
    assert sorted(results) == sorted(ended.items()), "one row for each job that has ended"
    for number in plant.numbers:
        batch = plant.batch(number)
        counts = plant.statuses(number)
        assert batch.total == sum(counts.values())
        for end in _TERMINAL:
            assert getattr(batch, end) == counts.get(end, 0), (end, counts)


def _check_sums(plant: Plant) -> None:
    open_attempts = plant.rows("SELECT id FROM attempts WHERE status = 'open'")
    assert not open_attempts, "no call is open"
    with plant.database.snapshot() as connection:
        rows = budgets.cost_row_sums(connection)
    kept: Counter[tuple[str, str, str]] = Counter()
    for row in plant.rows("SELECT * FROM spend"):
        kept[row.project_id, row.kind, row.period] += row.spent_nusd
    assert {key: total for key, total in rows.items() if total} == kept
    for number in plant.numbers:
        batch = plant.batch(number)
        sums = plant.rows(
            "SELECT coalesce(sum(cost_nusd), 0) AS cost, coalesce(sum(CASE WHEN status ="
            " 'unconfirmed' THEN cost_nusd ELSE 0 END), 0) AS unconfirmed FROM attempts"
            " WHERE job_id >> 24 = :number",
            number=number,
        )[0]
        assert (batch.cost_nusd, batch.unconfirmed_nusd) == (sums.cost, sums.unconfirmed)
        if batch.max_cost_nusd is not None:
            assert batch.cost_nusd <= batch.max_cost_nusd
    for project in plant.rows("SELECT * FROM projects"):
        for (owner, kind, _), spent in kept.items():
            limit = getattr(project, f"{kind}_limit_nusd")
            assert owner != project.id or limit is None or spent <= limit, (owner, kind)


def _check_bill(plant: Plant) -> Figures:
    bill = plant.simulator.bill()
    attempts = plant.rows("SELECT status, cost_nusd, model, error_kind FROM attempts")
    charged = sum(row.cost_nusd for row in attempts)
    unconfirmed = [row for row in attempts if row.status == "unconfirmed"]
    doubtful = sum(row.cost_nusd for row in unconfirmed)
    assert bill["total_nusd"] <= charged, "the bill is covered"
    assert charged - doubtful <= bill["total_nusd"], "what is called billed is on the bill"
    per_model: Counter[str] = Counter()
    for row in attempts:
        per_model[row.model] += row.cost_nusd
    for model, line in bill["by_model"].items():
        assert line["cost_nusd"] <= per_model[model], model
    jobs = plant.rows("SELECT status FROM jobs")
    return Figures(
        jobs=len(jobs),
        completed=sum(row.status == "completed" for row in jobs),
        calls=bill["calls"],
        bill_nusd=bill["total_nusd"],
        charged_nusd=charged,
        unconfirmed_nusd=doubtful,
        unconfirmed=len(unconfirmed),
        lost=sum(row.error_kind == "worker_lost" for row in unconfirmed),
    )


def _check_events(plant: Plant) -> None:
    """Every batch that ended announced it once, but for those that somebody waits for."""
    ended = [plant.batch(n).id for n in plant.numbers if plant.has_ended(n)]
    ended = [batch for batch in ended if not is_awaited(batch)]
    told = plant.rows("SELECT id, type, data FROM outbox WHERE type LIKE 'batch.%'")
    assert len(told) == len(ended)


def _check_ledger(plant: Plant) -> None:
    """Nothing stays reserved, and the counters are the database's sums, once reconciled."""
    reconciler = LedgerReconciler(plant.database, plant.ledger, retention_days=30, old_after_s=0)
    for _ in range(_PASSES):
        report = reconciler.reconcile(utc_now(), thorough=True)
        if not report.findings:
            break
    assert not report.findings, report.lines()
    scopes: list[Scope] = sorted(set(plant.ledger.scopes()), key=lambda scope: scope.text)
    for scope, balance in zip(scopes, plant.ledger.balance(scopes), strict=True):
        if balance is None:
            continue
        with plant.database.snapshot() as connection:
            purse = purse_of(connection, scope)
        assert (balance.spent_nusd, balance.reserved_nusd) == (purse.spent_nusd, 0), scope.text
