"""Plans, spread budgets and pilots from the outside: what was said before, and what came."""

import json
import time
from collections.abc import Sequence

import pytest

from tests.acceptance.whole_mill import JSONL, PATIENCE_S, Json, WholeMill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("running_mill", ["embedded"], indirect=True),
]


def post(mill: WholeMill, path: str, lines: Sequence[Json], **params: str) -> Json:
    answer = mill.http.post(
        path,
        params=params,
        content=b"".join(json.dumps(line).encode() + b"\n" for line in lines),
        headers={"content-type": JSONL},
    )
    answer.raise_for_status()
    return dict(answer.json())


def report_on(mill: WholeMill, batch: Json) -> Json:
    return dict(mill.http.get(f"/v1/batches/{batch['id']}/report").json())


def salty(round_: int, count: int = 60) -> list[Json]:
    return [
        {"prompt": f"Explain in batch {round_} why the sea near island number {n} is salty."}
        for n in range(count)
    ]


def learned_by(mill: WholeMill, project: str, p50: int) -> Json:
    """The plan of one more batch, once it says something else than `p50`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        plan = post(mill, "/v1/plan", salty(9), project=project)
        if plan["cost_nusd"]["p50"] != p50:
            return plan
        assert time.monotonic() < deadline, plan
        time.sleep(0.2)


def test_after_two_batches_a_plan_says_what_the_third_one_costs(mill: WholeMill):
    project = mill.project()
    said = 0
    for round_ in (1, 2, 3):
        plan = learned_by(mill, project, said)
        said = plan["cost_nusd"]["p50"]
        batch = post(mill, "/v1/batches", salty(round_), project=project)
        mill.ended(batch["id"])
        predicted = report_on(mill, batch)["predicted"]
        assert predicted["cost_nusd"] == plan["cost_nusd"]
    assert predicted["actual"]["within_p95"]
    assert 0.85 <= predicted["actual"]["of_p50"] <= 1.15
    assert "predicted: likely" in mill.say("report", batch["id"])


def test_a_spread_budget_answers_every_line_and_stays_below_its_cap(mill: WholeMill):
    project = mill.project()
    hard = [
        {"prompt": f"Prove step by step that the square root of {n} is irrational."}
        for n in range(2, 122)
    ]
    spread = {"optimise": "quality", "project": project}
    small = post(mill, "/v1/plan", hard, max_cost_usd="0.02", **spread)
    large = mill.json("plan", mill.file(hard), "--max-cost", "20", "--optimise", "quality")
    assert small["allotment"]["expected_success"] < large["allotment"]["expected_success"]
    batch = post(mill, "/v1/batches", hard, max_cost_usd="0.2", **spread)
    ended = mill.ended(batch["id"])
    assert ended["promptmill"]["counts"]["completed"] == len(hard)
    assert ended["promptmill"]["cost_nusd"] <= 200_000_000
    assert report_on(mill, batch)["predicted"]["allotment"]["cap_nusd"] == 200_000_000


def test_a_pilot_is_judged_and_the_rest_follows_by_itself(mill: WholeMill):
    project = mill.project()
    sums = [{"prompt": f"What is {n} + {n + 7}?"} for n in range(160)]
    batch = mill.submit(sums, "--pilot", "--project", project)
    assert batch["promptmill"]["pilot"] == "asking"
    ended = mill.ended(batch["id"])
    assert ended["promptmill"]["counts"]["completed"] == len(sums)
    pilot = report_on(mill, batch)["pilot"]
    assert (pilot["lines"], pilot["judged"]) == (40, 40)
    assert {choice["tier"] for choice in pilot["choices"]} == {"cheap"}
    assert pilot["cost_nusd"] > pilot["extra_nusd"] > 0
    tiers = [line["tier"] for line in mill.results(batch["id"])]
    assert (tiers.count("high"), tiers.count("cheap")) == (40, 120)
