"""Events reach the endpoints that want them, limits are announced once, old rows go."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from shared.db.engine import Database
from shared.db.repositories import budgets, outbox, webhook_deliveries, webhook_endpoints
from shared.db.tables import metadata
from shared.db.tables import outbox as outbox_table
from tests.integration.repair.mill import NOW, Mill
from worker.maintenance.budget_announcer import BudgetAnnouncer
from worker.maintenance.outbox_relay import OutboxRelay
from worker.maintenance.pruner import Pruner

URL = "https://example.com/hook"


@pytest.fixture
def announcer(database: Database) -> BudgetAnnouncer:
    return BudgetAnnouncer(database)


def endpoint(database: Database, url: str = URL, types: list[str] | None = None) -> str:
    with database.transaction() as connection:
        row, _ = webhook_endpoints.create(connection, "acme", url, "hook", types, NOW)
    return str(row.id)


def announce(database: Database, event_type: str = "batch.completed", **data: object) -> None:
    with database.transaction() as connection:
        outbox.add(connection, "acme", event_type, data or {"id": "batch_1"}, NOW)


def owed(database: Database, endpoint_id: str) -> list[str]:
    with database.reading() as connection:
        return [row.event_type for row in webhook_deliveries.page(connection, endpoint_id)]


def data_of(database: Database) -> list[dict[str, object]]:
    with database.reading() as connection:
        return list(connection.execute(select(outbox_table.c.data)).scalars())


def test_an_event_is_owed_once_to_each_endpoint_that_wants_it(mill: Mill, database: Database):
    mill.project()
    wants = endpoint(database)
    other = endpoint(database, URL + "2", ["job.completed"])
    announce(database)
    relay = OutboxRelay(database)
    assert relay.run_once(NOW) == 1
    assert relay.run_once(NOW) == 0
    assert (owed(database, wants), owed(database, other)) == (["batch.completed"], [])


def test_a_disabled_endpoint_is_owed_nothing(mill: Mill, database: Database):
    mill.project()
    disabled = endpoint(database)
    with database.transaction() as connection:
        webhook_endpoints.disable(connection, disabled, NOW)
    announce(database)
    OutboxRelay(database).run_once(NOW)
    assert owed(database, disabled) == []


def test_an_event_that_cannot_be_told_does_not_hold_up_the_others(mill: Mill, database: Database):
    mill.project()
    wants = endpoint(database)
    announce(database, "batch.completed", nonsense=1)
    announce(database)
    assert OutboxRelay(database).run_once(NOW) == 2
    assert owed(database, wants) == ["batch.completed"]


def test_each_threshold_of_a_limit_is_announced_once(
    mill: Mill, announcer: BudgetAnnouncer, database: Database
):
    mill.project(day=1000)
    number = mill.batch(1)
    mill.spend(number, 1, 499)
    assert announcer.run_once(NOW) == 0
    mill.spend(number, 1, 1)
    assert announcer.run_once(NOW) == 1
    mill.spend(number, 1, 500)
    assert announcer.run_once(NOW) == 2
    assert announcer.run_once(NOW) == 0
    assert [data["percent"] for data in data_of(database)] == [50, 80, 100]


def test_a_raised_limit_has_its_own_thresholds(
    mill: Mill, announcer: BudgetAnnouncer, database: Database
):
    mill.project(total=1000)
    mill.spend(mill.batch(1), 1, 600)
    assert announcer.run_once(NOW) == 1
    with database.transaction() as connection:
        budgets.set_limits(connection, "acme", {"total": 1100})
    assert announcer.run_once(NOW) == 1


def test_held_jobs_announce_that_the_budget_is_exhausted(
    mill: Mill, announcer: BudgetAnnouncer, database: Database
):
    mill.project(day=10)
    number = mill.batch(2)
    mill.hold(number, "day:acme:2026-11-21", 100, 1, 2)
    assert announcer.run_once(NOW) == 1
    assert announcer.run_once(NOW) == 0
    assert mill.events() == ["budget.exhausted"]
    (data,) = data_of(database)
    assert (data["held_jobs"], data["limit_nusd"], data["project"]) == (2, 10, "acme")


def test_a_held_batchs_cap_is_told_to_its_project(
    mill: Mill, announcer: BudgetAnnouncer, database: Database
):
    number = mill.batch(1, max_cost_nusd=5)
    mill.hold(number, f"batch:{mill.row(number).id}", 100, 1)
    assert announcer.run_once(NOW) == 1
    assert data_of(database)[0]["project"] == "acme"


def test_what_is_announced_can_be_told(mill: Mill, announcer: BudgetAnnouncer, database: Database):
    mill.project(day=10)
    wants = endpoint(database, types=["budget.threshold", "budget.exhausted"])
    number = mill.batch(1)
    mill.spend(number, 1, 6)
    mill.hold(number, "day:acme:2026-11-21", 100, 1)
    announcer.run_once(NOW)
    OutboxRelay(database).run_once(NOW)
    assert sorted(owed(database, wants)) == ["budget.exhausted", "budget.threshold"]


def counts(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def test_old_batches_go_whole_and_their_sums_stay(mill: Mill, database: Database, tmp_path: Path):
    old, young = mill.batch(3), mill.batch(3)
    mill.spend(old, 1, 70)
    mill.finish(old, mill.claim(old, 1, 2, 3), 1, 2, 3)
    pruner = Pruner(database, retention_days=30, spool=tmp_path / "spool")
    assert pruner.run_once(NOW + timedelta(days=29)) == 0
    pruner.run_once(NOW + timedelta(days=31))
    left = counts(database)
    assert (left["batches"], left["jobs"], left["results"], left["attempts"]) == (1, 3, 0, 0)
    assert left["spend"] == 3
    assert mill.row(young).status == "in_progress"


def test_a_batchs_number_is_never_given_out_again(mill: Mill, database: Database, tmp_path: Path):
    number = mill.batch(1)
    mill.finish(number, mill.claim(number, 1), 1)
    Pruner(database, retention_days=1, spool=tmp_path).run_once(NOW + timedelta(days=2))
    assert mill.batch(1) > number


def test_old_deliveries_events_and_spools_go(mill: Mill, database: Database, tmp_path: Path):
    mill.project()
    endpoint_id = endpoint(database)
    announce(database)
    OutboxRelay(database).run_once(NOW)
    with database.transaction() as connection:
        webhook_endpoints.disable(connection, endpoint_id, NOW)
    spool = tmp_path / "spool"
    spool.mkdir()
    for name, age_s in (("old", 90_000), ("new", 60)):
        (spool / name).touch()
        os.utime(spool / name, (time.time() - age_s,) * 2)
    Pruner(database, retention_days=30, spool=spool).run_once(NOW + timedelta(days=31))
    left = counts(database)
    assert (left["webhook_deliveries"], left["outbox"], left["webhook_endpoints"]) == (0, 0, 1)
    assert [path.name for path in spool.iterdir()] == ["new"]


def test_events_that_were_not_relayed_are_kept(mill: Mill, database: Database, tmp_path: Path):
    mill.project()
    announce(database)
    Pruner(database, retention_days=1, spool=tmp_path).run_once(NOW + timedelta(days=31))
    assert counts(database)["outbox"] == 1
