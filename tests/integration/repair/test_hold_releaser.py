"""Held jobs go on when there is room, in order, no more than fit, and not to be held again."""

from datetime import timedelta

import pytest

from shared.budget.ledger import Ledger
from shared.budget.model import Scope
from shared.db.engine import Database
from shared.db.repositories import budgets
from tests.integration.repair.mill import NOW, Mill
from worker.maintenance.hold_releaser import HoldReleaser

DAY = "day:acme:2026-11-21"


@pytest.fixture
def releaser(database: Database, ledger: Ledger) -> HoldReleaser:
    return HoldReleaser(database, ledger)


@pytest.fixture(params=["from the ledger", "from the database"])
def opened(request: pytest.FixtureRequest) -> bool:
    return request.param == "from the ledger"


def held_batch(mill: Mill, opened: bool, *, lines: int, need: int, limit: int, spent: int) -> int:
    mill.project(day=limit)
    number = mill.batch(lines)
    mill.spend(number, 1, spent)
    if opened:
        mill.open_scopes(number)
    mill.hold(number, DAY, need, *range(1, lines + 1))
    return number


def raise_limit(mill: Mill, database: Database, limit: int | None) -> None:
    with database.transaction() as connection:
        budgets.set_limits(connection, "acme", {"day": limit})
    mill.ledger.set_limit(Scope.parse(DAY), limit)


def test_jobs_stay_held_while_there_is_no_room(mill: Mill, releaser: HoldReleaser, opened: bool):
    number = held_batch(mill, opened, lines=3, need=100, limit=1000, spent=950)
    assert releaser.run_once(NOW) == 0
    assert mill.statuses(number) == {"held": 3}


def test_a_top_up_releases_as_many_as_fit_in_input_order(
    mill: Mill, releaser: HoldReleaser, database: Database, opened: bool
):
    number = held_batch(mill, opened, lines=5, need=100, limit=1000, spent=950)
    raise_limit(mill, database, 1200)
    assert releaser.run_once(NOW) == 2
    assert [mill.job(number, line).status for line in (1, 2, 3)] == ["queued", "queued", "held"]


def test_nothing_is_released_twice_for_the_same_room(
    mill: Mill, releaser: HoldReleaser, database: Database, opened: bool
):
    number = held_batch(mill, opened, lines=5, need=100, limit=1000, spent=950)
    raise_limit(mill, database, 1200)
    releaser.run_once(NOW)
    assert releaser.run_once(NOW + timedelta(seconds=1)) == 0
    mill.claim(number, 1, 2)
    assert releaser.run_once(NOW + timedelta(seconds=2)) == 2


def test_a_lifted_limit_releases_all(
    mill: Mill, releaser: HoldReleaser, database: Database, opened: bool
):
    number = held_batch(mill, opened, lines=5, need=100, limit=1000, spent=950)
    raise_limit(mill, database, None)
    assert releaser.run_once(NOW) == 5
    assert mill.statuses(number) == {"queued": 5}


def test_a_day_that_is_over_always_releases(mill: Mill, releaser: HoldReleaser, opened: bool):
    held_batch(mill, opened, lines=5, need=100, limit=1000, spent=1000)
    assert releaser.run_once(NOW + timedelta(days=1)) == 5


def test_one_that_does_not_fit_lets_smaller_ones_pass(
    mill: Mill, releaser: HoldReleaser, opened: bool
):
    number = held_batch(mill, opened, lines=2, need=100, limit=1000, spent=950)
    mill.execute("UPDATE jobs SET need_nusd = 40 WHERE custom_id = 'line-2'")
    assert releaser.run_once(NOW) == 1
    assert mill.job(number, 2).status == "queued"


def test_a_project_whose_name_begins_alike_is_not_touched(
    mill: Mill, releaser: HoldReleaser, database: Database
):
    mill.project("acme", total=0)
    mill.project("acme2", total=0)
    first, second = mill.batch(1, "acme"), mill.batch(1, "acme2")
    mill.hold(first, "total:acme", 10, 1)
    mill.hold(second, "total:acme2", 10, 1)
    with database.transaction() as connection:
        budgets.set_limits(connection, "acme", {"total": 10})
    assert releaser.run_once(NOW) == 1
    assert (mill.job(first, 1).status, mill.job(second, 1).status) == ("queued", "held")


def test_a_raised_cap_releases_the_batchs_jobs(
    mill: Mill, releaser: HoldReleaser, database: Database
):
    number = mill.batch(3, max_cost_nusd=10)
    mill.hold(number, f"batch:{mill.row(number).id}", 10, 1, 2, 3)
    mill.set_status(number, max_cost_nusd=30)
    assert releaser.run_once(NOW) == 3


def test_without_redis_nothing_is_released(mill: Mill, database: Database, dead_ledger: Ledger):
    number = mill.batch(2)
    mill.hold(number, DAY, 1, 1, 2)
    assert HoldReleaser(database, dead_ledger).run_once(NOW) == 0
