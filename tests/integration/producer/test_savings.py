"""What was saved, by day and task type: the sums are those of the results, whatever is retried."""

import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from producer.bootstrap import ProducerContext
from producer.reporting.hints import Outcomes, Spent, hints
from shared.clock import utc_now
from shared.db.repositories import batches, outcome_days
from shared.db.tables import outcome_days as sums_table
from shared.db.tables import results
from tests.integration.producer.finished import finish
from tests.integration.producer.test_analytics import get, submit
from worker.maintenance.outcome_summer import OutcomeSummer
from worker.maintenance.pruner import Pruner

FAILED = {"code": "timeout", "message": "no answer in time"}


def total(context: ProducerContext, column: str) -> int:
    with context.database.reading() as connection:
        return int(connection.execute(select(func.sum(sums_table.c[column]))).scalar_one() or 0)


@pytest.fixture
def ended(api: httpx.Client, context: ProducerContext) -> str:
    """A batch of three answers, one of them by a climb, and a failure that cost something."""
    batch = submit(api, 4)
    finish(context, batch, 1)
    finish(context, batch, 2, task_type="coding")
    strong = {"model": "m-high", "provider": "p", "tier": "high"}
    finish(context, batch, 3, asked=strong, climbs=1, rescued=True, cost_nusd=4000)
    finish(context, batch, 4, error=FAILED, cost_nusd=500, strongest_nusd=0)
    assert get(api, f"/v1/batches/{batch}")["status"] == "completed"
    return batch


def test_savings_are_those_of_the_reports(
    api: httpx.Client, context: ProducerContext, ended: str
) -> None:
    submit(api, 1)  # one that runs is not among them
    assert OutcomeSummer(context.database).run_once(utc_now()) == 1
    assert OutcomeSummer(context.database).run_once(utc_now()) == 0
    report = get(api, f"/v1/batches/{ended}/report")
    (day,) = get(api, "/v1/analytics/savings")["data"]
    assert (day["jobs"], day["completed"], day["climbed"], day["rescued"]) == (4, 3, 1, 1)
    assert day["cost_nusd"] == report["total_cost_nusd"] == 6500
    assert day["always_strongest_nusd"] == report["always_strongest_nusd"] == 27_000
    assert day["saved_nusd"] == report["saved_nusd"]
    grouped = get(api, "/v1/analytics/savings", group_by="task_type,tier")["data"]
    assert [(g["task_type"], g["tier"], g["jobs"]) for g in grouped] == [
        ("coding", "cheap", 1),
        ("simple_qa", "cheap", 2),
        ("simple_qa", "high", 1),
    ]
    answer = api.get("/v1/analytics/savings", params={"format": "csv", "group_by": "task_type"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["task_type"], row["cost_nusd"]) for row in rows] == [
        ("coding", "1000"),
        ("simple_qa", "5500"),
    ]
    assert api.get("/v1/analytics/savings", params={"group_by": "moon"}).status_code == 400


def test_a_batch_is_summed_up_once_and_anew_when_it_is_retried(
    api: httpx.Client, context: ProducerContext, ended: str
) -> None:
    summer = OutcomeSummer(context.database)
    with context.database.reading() as connection:
        read = outcome_days.unsummed(connection, 10, 10)
        sums = outcome_days.sums_of(connection, list(read))
    assert summer.run_once(utc_now()) == 1
    with context.database.transaction() as connection:  # who read the same and came second
        assert not outcome_days.add(connection, read, sums, utc_now())
    assert total(context, "cost_nusd") == 6500
    assert api.post(f"/v1/batches/{ended}/retry").status_code == 200
    assert total(context, "jobs") == total(context, "cost_nusd") == 0
    assert get(api, "/v1/analytics/savings")["data"] == []
    assert summer.run_once(utc_now()) == 0
    finish(context, ended, 4, cost_nusd=700)
    assert summer.run_once(utc_now()) == 1
    assert (total(context, "jobs"), total(context, "completed")) == (4, 4)
    with context.database.reading() as connection:
        cost = connection.execute(select(func.sum(results.c.cost_nusd))).scalar_one()
    assert total(context, "cost_nusd") == cost


def test_what_is_pruned_stays_in_the_sums(context: ProducerContext, ended: str) -> None:
    pruner = Pruner(
        context.database, retention_days=1, spool=context.settings.home_dir / "no-spool"
    )
    assert pruner.run_once(utc_now() + timedelta(days=2)) == 5
    assert (total(context, "jobs"), total(context, "cost_nusd")) == (4, 6500)
    with context.database.reading() as connection:
        assert batches.get(connection, ended) is None


def test_costs_are_told_by_task_type(
    api: httpx.Client, context: ProducerContext, ended: str
) -> None:
    rows = get(api, "/v1/analytics/usage", group_by="task_type")["data"]
    assert [(row["task_type"], row["cost_nusd"]) for row in rows] == [("", 6500)]


def outcomes(tier: str, jobs: int, **figures: Any) -> Outcomes:
    usual = {"completed": jobs, "climbed": 0, "rescued": 0, "cost_nusd": jobs * 10}
    return Outcomes("acme", "simple_qa", tier, jobs, **(usual | figures))


@pytest.mark.parametrize(
    ("seen", "code", "saves"),
    [
        ([outcomes("cheap", 200)], "cheap_suffices", 0),
        ([outcomes("cheap", 20), outcomes("mid", 80, climbed=60, rescued=50)], "begin_higher", 0),
        ([outcomes("cheap", 400, climbed=60, rescued=3)], "climbs_in_vain", 0),
        ([outcomes("cheap", 200), outcomes("high", 100, cost_nusd=9000)], "begin_lower", 8000),
    ],
)
def test_a_hint_is_given_where_the_figures_leave_little_doubt(
    seen: list[Outcomes], code: str, saves: int
) -> None:
    (hint,) = hints(seen, [])
    assert (hint.code, hint.project, hint.saves_nusd) == (code, "acme", saves)
    assert hints([outcomes(o.tier, o.jobs // 20) for o in seen], []) == []


def test_money_for_nothing_is_a_hint() -> None:
    (hint,) = hints([], [Spent("acme", "openai", 1000, 300), Spent("acme", "p", 1000, 50)])
    assert (hint.code, hint.provider, hint.saves_nusd) == ("paid_without_answer", "openai", 300)


def test_hints_are_told_over_http(api: httpx.Client, ended: str) -> None:
    assert get(api, "/v1/analytics/hints")["data"] == []
