"""Batches whose budget is allotted to all jobs together: asked for, planned, and found anew."""

from typing import Any

import httpx
import pytest

from producer.bootstrap import ProducerContext
from shared.db.repositories import batch_plans
from tests.integration.producer.finished import finish, number_of
from tests.integration.producer.test_api_batches import JSONL, error_of, made, submit
from worker.maintenance.budget_allotter import BudgetAllotter

HARD = b"".join(
    b'{"prompt":"Prove step by step that the square root of %d is irrational."}\n' % prime
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)
)


def gain_of(context: ProducerContext, batch_id: str) -> float:
    with context.database.reading() as connection:
        gain = batch_plans.gain_per_usd(connection, number_of(context, batch_id))
    assert gain is not None
    return gain


def planned(api: httpx.Client, usd: str) -> dict[str, Any]:
    params = {"max_cost_usd": usd, "optimise": "quality"}
    response = api.post("/v1/plan", content=HARD, params=params, headers=JSONL)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_larger_budget_is_planned_to_buy_better_answers(api: httpx.Client):
    plans = [planned(api, usd) for usd in ("0.01", "0.1", "1", "10")]
    chances = [plan["allotment"]["expected_success"] for plan in plans]
    assert chances == sorted(chances)
    assert chances[0] < chances[-1]
    assert plans[-1]["allotment"]["carries_all"]
    assert plans[-1]["cost_nusd"]["p50"] > plans[0]["cost_nusd"]["p50"]


def test_the_price_rises_when_answers_cost_more_than_expected_and_falls_after_a_top_up(
    api: httpx.Client, context: ProducerContext
):
    batch = made(api, HARD, max_cost_usd="0.1", optimise="quality")
    assert batch["promptmill"]["optimise"] == "quality"
    allotter = BudgetAllotter(context.database)
    before = gain_of(context, batch["id"])
    assert allotter.run_once(context.clock()) == 0

    for line in range(1, 6):
        finish(context, batch["id"], line, cost_nusd=12_000_000)
    assert allotter.run_once(context.clock()) == 1
    tighter = gain_of(context, batch["id"])
    assert tighter > before

    resumed = api.post(f"/v1/batches/{batch['id']}/resume", json={"max_cost_usd": "20"})
    assert resumed.status_code == 200, resumed.text
    assert allotter.run_once(context.clock()) == 1
    assert gain_of(context, batch["id"]) < tighter
    assert allotter.run_once(context.clock()) == 0


def test_a_report_tells_how_the_budget_was_spread(api: httpx.Client):
    batch = made(api, HARD, max_cost_usd="0.1", optimise="quality")
    predicted = api.get(f"/v1/batches/{batch['id']}/report").json()["predicted"]
    assert predicted["allotment"]["cap_nusd"] == 100_000_000
    assert predicted["cost_nusd"]["p50"] <= 100_000_000


@pytest.mark.parametrize(
    ("options", "param"),
    [({"optimise": "quality"}, "max_cost_usd"), ({"optimise": "x", "max_cost_usd": 1}, "optimise")],
)
def test_a_spread_without_a_budget_is_refused(
    api: httpx.Client, options: dict[str, Any], param: str
):
    assert error_of(submit(api, HARD, **options), 400)["param"] == param
    assert error_of(api.post("/v1/plan", content=HARD, params=options), 400)["param"] == param
