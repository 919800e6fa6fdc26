"""Counters that were lost, or left behind by a crash, come to agree with the database again."""

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.db.repositories import budgets
from tests.integration.repair.mill import NOW, Mill
from worker.ledger_opening import LedgerOpener
from worker.maintenance.ledger_reconciler import LedgerReconciler

ROOT = Path(__file__).parents[3]


@pytest.fixture
def reconciler(database: Database, ledger: Ledger) -> LedgerReconciler:
    return LedgerReconciler(database, ledger, retention_days=30, old_after_s=0)


def kinds(reconciler: LedgerReconciler) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.mended) for finding in reconciler.reconcile(NOW).findings]


def test_a_ledger_that_agrees_gives_an_empty_report(mill: Mill, reconciler: LedgerReconciler):
    number = mill.batch(1)
    mill.spend(number, 1, 70)
    mill.open_scopes(number)
    report = reconciler.reconcile(NOW, thorough=True)
    assert (report.scopes, report.findings, report.agrees) == (4, [], True)


def test_a_reservation_whose_worker_died_before_its_intent_is_given_back(
    mill: Mill, reconciler: LedgerReconciler
):
    number = mill.batch(1)
    scopes = mill.open_scopes(number)
    mill.reserve(mill.intent(number, 1, 500), number, confirm=False)
    assert kinds(reconciler) == [("reservation_without_intent", True)]
    assert mill.balance(scopes[0]) == (0, 0)


def test_a_call_under_way_keeps_its_reservation(mill: Mill, reconciler: LedgerReconciler):
    number = mill.batch(1)
    scopes = mill.open_scopes(number)
    intent = mill.intent(number, 1, 500)
    mill.reserve(intent, number)
    mill.write_intent(intent)
    assert kinds(reconciler) == []
    assert mill.balance(scopes[0]) == (0, 500)


def test_an_attempt_that_ended_unsettled_is_settled_at_its_price(
    mill: Mill, reconciler: LedgerReconciler
):
    number = mill.batch(1)
    scopes = mill.open_scopes(number)
    intent = mill.intent(number, 1, 500)
    mill.reserve(intent, number)
    mill.write_intent(intent)
    mill.close(intent, 120)
    assert kinds(reconciler) == [("reservation_of_an_ended_attempt", True)]
    assert [mill.balance(scope) for scope in scopes] == [(120, 0)] * 4


def test_too_little_spent_is_corrected_at_once(
    mill: Mill, reconciler: LedgerReconciler, redis_client: "redis.Redis"
):
    number = mill.batch(1)
    mill.spend(number, 1, 900)
    scopes = mill.open_scopes(number)
    (found,) = [k for k in redis_client.scan_iter("*") if k.decode().endswith(scopes[0].text)]
    redis_client.hset(found, "spent", 300)
    assert kinds(reconciler) == [("spent_too_low", True)]
    assert mill.balance(scopes[0]) == (900, 0)


def test_too_much_spent_is_corrected_when_it_was_seen_twice(
    mill: Mill, reconciler: LedgerReconciler, redis_client: "redis.Redis"
):
    number = mill.batch(1)
    mill.spend(number, 1, 900)
    scopes = mill.open_scopes(number)
    (found,) = [k for k in redis_client.scan_iter("*") if k.decode().endswith(scopes[0].text)]
    redis_client.hset(found, "spent", 1000)
    assert kinds(reconciler) == [("spent_too_high", False)]
    assert mill.balance(scopes[0]) == (1000, 0)
    assert kinds(reconciler) == [("spent_too_high", True)]
    assert mill.balance(scopes[0]) == (900, 0)
    assert kinds(reconciler) == []


def test_a_settlement_on_its_way_is_not_taken_for_a_loss(
    mill: Mill, database: Database, ledger: Ledger
):
    number = mill.batch(1)
    scopes = mill.open_scopes(number)
    intent = mill.intent(number, 1, 500)
    mill.reserve(intent, number)
    mill.write_intent(intent)
    mill.close(intent, 120)
    patient = LedgerReconciler(database, ledger, retention_days=30, old_after_s=3600)
    assert kinds(patient) == []
    assert mill.balance(scopes[0]) == (0, 500)


def test_a_lower_limit_counts_at_once_and_a_higher_one_when_seen_twice(
    mill: Mill, reconciler: LedgerReconciler, database: Database, ledger: Ledger
):
    mill.project(day=1000)
    scopes = mill.open_scopes(mill.batch(1))
    for limit, seen in ((400, [True]), (800, [False, True]), (None, [False, True])):
        with database.transaction() as connection:
            budgets.set_limits(connection, "acme", {"day": limit})
        assert [kinds(reconciler) for _ in seen] == [[("limit_differs", m)] for m in seen]
        (balance,) = ledger.balance(scopes[:1])
        assert balance is not None
        assert balance.limit_nusd == limit


def test_sums_that_somebody_changed_by_hand_are_reported(mill: Mill, reconciler: LedgerReconciler):
    number = mill.batch(1)
    mill.spend(number, 1, 70)
    mill.execute("UPDATE spend SET spent_nusd = 1 WHERE kind = 'day'")
    report = reconciler.reconcile(NOW, thorough=True)
    assert [f.kind for f in report.findings] == ["sums_differ_from_cost_rows"]
    assert not report.agrees
    assert "sums differ from cost rows: day:acme:2026-11-21" in "\n".join(report.lines())


def test_scopes_of_ended_batches_and_past_days_are_forgotten(
    mill: Mill, reconciler: LedgerReconciler, ledger: Ledger, redis_client: "redis.Redis"
):
    number = mill.batch(1)
    mill.open_scopes(number)
    mill.finish(number, mill.claim(number, 1), 1)
    reconciler.reconcile(NOW + timedelta(days=1))
    lapsing = {
        key.decode().rpartition("scope:")[2]
        for key in redis_client.scan_iter("*")
        if redis_client.ttl(key) > 0
    }
    assert len(lapsing) == 2
    assert len(set(ledger.scopes())) == 4


def test_lost_counters_are_rebuilt_from_rows_and_open_intents(
    mill: Mill, reconciler: LedgerReconciler, redis_client: "redis.Redis", database: Database
):
    number = mill.batch(2, max_cost_nusd=5000)
    mill.spend(number, 1, 900)
    mill.claim(number, 2)
    intent = mill.intent(number, 2, 500)
    mill.open_scopes(number)
    mill.reserve(intent, number)
    mill.write_intent(intent)
    redis_client.flushall()
    reconciler.reconcile(NOW)
    assert [mill.balance(scope) for scope in mill.scopes(number)] == [(900, 500)] * 4
    mill.close(intent, 100)
    assert mill.ledger.settle([(intent.id, 100)]) == [True]
    assert [mill.balance(scope) for scope in mill.scopes(number)] == [(1000, 0)] * 4


def test_many_processes_that_find_the_ledger_lost_rebuild_it_once(
    database: Database, ledger: Ledger, mill: Mill
):
    mill.open_scopes(mill.batch(1))
    ledger._client.flushall()
    epochs: list[str] = []
    barrier = threading.Barrier(6)

    def open_it() -> None:
        barrier.wait()
        epochs.append(LedgerOpener(database, ledger).ensure_open())

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(epochs) == 6
    assert len(set(epochs)) == 1


def test_the_command_prints_a_report_and_exits_by_what_it_found(
    mill: Mill, database_url: str, redis_url: str, tmp_path: Path
):
    number = mill.batch(1)
    mill.spend(number, 1, 70)
    mill.open_scopes(number)

    def reconcile(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker.maintenance.ledger_reconciler", *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ
            | {
                "PROMPTMILL_DATABASE_URL": database_url,
                "PROMPTMILL_REDIS_URL": redis_url,
                "PROMPTMILL_HOME": str(tmp_path / "home"),
            },
        )

    agreeing = reconcile()
    assert (agreeing.returncode, agreeing.stderr) == (0, "")
    assert agreeing.stdout.startswith("4 scopes, 0 old reservations: counters and database agree")
    mill.execute("UPDATE spend SET spent_nusd = 1 WHERE kind = 'day'")
    differing = reconcile("--json")
    assert differing.returncode == 1
    assert json.loads(differing.stdout)["agrees"] is False
