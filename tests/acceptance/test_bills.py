"""What we say it cost is what the providers say: on every wire, for every kind of usage and end."""

from typing import Any

import pytest

from tests.acceptance.whole_mill import WholeMill

pytestmark = pytest.mark.slow

WIRES = ("tiny", "other-tiny", "middle", "large")
POOR_ANSWERS = ("refused", "blocked", "truncated", "empty", "weak", "blank_lines")


def test_the_providers_bill_is_the_sum_of_the_cost_rows_per_model(mill: WholeMill) -> None:
    mill.simulator.set_scenario(
        {
            "latency_ms": 5,
            "usage": {"cached_share": 0.4, "cache_write_share": 0.2, "reasoning_tokens": 9},
            "rules": [
                {"match": {"contains": f"end by {kind}."}, "fault": kind} for kind in POOR_ANSWERS
            ],
        }
    )
    lines = [
        {"prompt": f"Tell me of number {n}; end by {kind}. " + "More of it. " * n, "model": model}
        for model in WIRES
        for kind in (*POOR_ANSWERS, "itself")
        for n in (1, 12)
    ]

    batch = mill.submit(lines)

    ended = mill.ended(batch["id"])
    assert ended["promptmill"]["unconfirmed_nusd"] == 0
    assert set(mill.billed_by_model()) == set(WIRES)
    assert mill.cost_by_model(batch["id"]) == mill.billed_by_model()
    total = mill.simulator.bill()["total_nusd"]
    assert ended["promptmill"]["cost_nusd"] == total
    assert sum(line["cost_nusd"] for line in mill.results(batch["id"])) == total


def test_climbs_are_paid_and_told(mill: WholeMill) -> None:
    weak = [{"match": {"model": model}, "fault": "weak"} for model in ("tiny", "other-tiny")]
    mill.simulator.set_scenario({"latency_ms": 5, "rules": weak})
    lines = [{"custom_id": f"c{n}", "prompt": f"What is {n} + {n}?"} for n in range(12)]

    batch = mill.submit(lines)

    mill.ended(batch["id"])
    results = mill.results(batch["id"])
    assert {(line["status"], line["escalated"]) for line in results} == {("completed", True)}
    assert all(line["tier"] != "cheap" and line["attempts"] == 2 for line in results)
    report = mill.json("report", batch["id"])
    assert mill.cost_by_model(batch["id"]) == mill.billed_by_model()
    assert report["escalations"]["climbs"] == report["escalations"]["rescued"] == 12
    assert report["total_cost_nusd"] == mill.simulator.bill()["total_nusd"]
    assert report["always_strongest_nusd"] > 0


def test_a_job_tells_its_whole_story(mill: WholeMill) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"model": "tiny"}, "fault": "weak"}]})
    batch = mill.submit([{"prompt": "What is 2 + 3?", "model": "cheap"}])
    mill.ended(batch["id"])
    (line,) = mill.say("results", batch["id"], "--format", "openai").splitlines()
    number = line.partition("batch_req_")[2].partition('"')[0]

    story: dict[str, Any] = mill.http.get(f"/v1/jobs/job_{number}").json()

    assert story["classification"]["task_type"] == "simple_qa"
    assert story["route"]["ladder"]
    assert story["route"]["reasons"]
    attempts = story["attempts"]
    assert all(attempt["verdict"]["reasons"] for attempt in attempts[:-1])
    assert attempts[-1]["verdict"]["accepted"]
    assert all(0 < one["cost_nusd"] <= one["reserved_nusd"] for one in attempts)
    assert sum(one["cost_nusd"] for one in attempts) == mill.simulator.bill()["total_nusd"]
