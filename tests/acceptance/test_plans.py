"""Plans and spread budgets from the outside: what was said before, and what came."""

import time

import pytest

from tests.acceptance.whole_mill import PATIENCE_S, Json, WholeMill

pytestmark = pytest.mark.slow


def lines(round_: int, count: int = 60) -> list[Json]:
    return [
        {"prompt": f"Explain in batch {round_} why the sea near island number {n} is salty."}
        for n in range(count)
    ]


def learned_by(mill: WholeMill, project: str, count: int) -> Json:
    """The plan of one more batch, once it knows another length of answers than `count` says."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        plan: Json = mill.json("plan", mill.file(lines(9)), "--project", project)
        if plan["cost_nusd"]["p50"] != count:
            return plan
        assert time.monotonic() < deadline, plan
        time.sleep(0.2)


def test_after_two_batches_a_plan_says_what_the_third_one_costs(mill: WholeMill):
    project = mill.project()
    said = 0
    for round_ in (1, 2):
        plan = learned_by(mill, project, said)
        said = plan["cost_nusd"]["p50"]
        batch = mill.submit(lines(round_), "--project", project)
        mill.ended(batch["id"])
        predicted = mill.json("report", batch["id"])["predicted"]
        assert predicted["cost_nusd"] == plan["cost_nusd"]
        assert (
            predicted["actual"]["cost_nusd"] == mill.batch(batch["id"])["promptmill"]["cost_nusd"]
        )
    plan = learned_by(mill, project, said)
    answer = mill.http.post(
        "/v1/plan", params={"project": project}, content=b'{"prompt": "Why is the sea salty?"}\n'
    )
    assert answer.json()["jobs"] == 1
    batch = mill.submit(lines(3), "--project", project)
    mill.ended(batch["id"])
    predicted = mill.json("report", batch["id"])["predicted"]
    assert predicted["actual"]["within_p95"]
    assert 0.85 <= predicted["actual"]["of_p50"] <= 1.15
    assert "predicted: likely" in mill.say("report", batch["id"])


def test_a_spread_budget_answers_every_line_and_stays_below_its_cap(mill: WholeMill):
    project = mill.project()
    hard = [
        {"prompt": f"Prove step by step that the square root of {n} is irrational."}
        for n in range(2, 122)
    ]
    file = mill.file(hard)
    spread = ("--optimise", "quality", "--project", project)
    plans = [mill.json("plan", file, "--max-cost", usd, *spread) for usd in ("0.02", "20")]
    chances = [plan["allotment"]["expected_success"] for plan in plans]
    assert chances[0] < chances[1]
    batch = mill.submit(hard, "--max-cost", "0.2", *spread)
    ended = mill.ended(batch["id"])
    assert ended["promptmill"]["counts"]["completed"] == len(hard)
    assert ended["promptmill"]["cost_nusd"] <= 200_000_000
    assert mill.json("report", batch["id"])["predicted"]["allotment"]["cap_nusd"] == 200_000_000
