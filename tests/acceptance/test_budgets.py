"""Many calls at once against money for a third of them: the providers' own bill is the judge."""

import time

import pytest

from shared.domain.money import usd_from_nusd
from tests.acceptance.whole_mill import PATIENCE_S, Json, WholeMill

pytestmark = pytest.mark.slow

JOBS = 200
WIRES = ("tiny", "other-tiny", "middle", "large")


def lines(name: str, count: int = JOBS) -> list[Json]:
    return [
        {
            "custom_id": f"{name}-{n}",
            "prompt": f"What is {n} + {n}? " + "Think well. " * (n % 20),
            "model": WIRES[n % len(WIRES)],
            "max_tokens": 60,
        }
        for n in range(count)
    ]


def third_of_the_price(mill: WholeMill) -> int:
    """A third of what all will cost, by the bill of the same lines."""
    batch = mill.submit(lines("price", 40), "--project", mill.project())
    mill.ended(batch["id"])
    price = int(mill.simulator.bill()["total_nusd"]) * JOBS // 40
    mill.reset()
    return price // 3


def all_rest(batch: Json) -> bool:
    counts = batch["promptmill"]["counts"]
    return bool(counts["held"]) and counts["queued"] + counts["running"] == 0


def run_until_held(mill: WholeMill, project: str, limit: int, *options: str) -> Json:
    """Submit, and look at counters and bill all the while until nothing moves."""
    mill.simulator.set_scenario({"latency_ms": 30})
    batch = mill.submit(lines(project), "--project", project, *options)
    deadline = time.monotonic() + PATIENCE_S
    while not all_rest(batch):
        assert time.monotonic() < deadline, batch
        assert mill.simulator.bill()["total_nusd"] <= limit
        answer = mill.http.get("/v1/budget", params={"project": project})
        for window in answer.json()["windows"]:
            spent, reserved = window["spent_nusd"], window["reserved_nusd"]
            assert window["limit_nusd"] is None or spent + reserved <= window["limit_nusd"]
        batch = mill.batch(batch["id"])
    return batch


def assert_a_third_ran(mill: WholeMill, batch: Json, limit: int) -> None:
    bill = mill.simulator.bill()
    counts = batch["promptmill"]["counts"]
    assert limit * 3 // 4 < bill["total_nusd"] <= limit
    assert batch["promptmill"]["cost_nusd"] == bill["total_nusd"]
    assert batch["status"] == "in_progress"
    assert 0 < counts["completed"] < JOBS  # cheap calls still fit where dear ones do not
    assert counts["held"] == JOBS - counts["completed"]


def assert_all_ran_once(mill: WholeMill, batch_id: str) -> None:
    ended = mill.ended(batch_id)
    counts = ended["promptmill"]["counts"]
    assert (ended["status"], counts["completed"]) == ("completed", JOBS)
    bill = mill.simulator.bill()
    assert bill["calls"] == JOBS
    assert ended["promptmill"]["cost_nusd"] == bill["total_nusd"]
    assert mill.cost_by_model(batch_id) == mill.billed_by_model()


def test_a_budget_for_a_third_is_never_overspent_and_a_top_up_finishes_the_rest(
    mill: WholeMill,
) -> None:
    limit = third_of_the_price(mill)
    project = mill.project()
    set_budget = ("budget", "set", "--project", project)
    mill.say(*set_budget, "--day", usd_from_nusd(limit), "--total", usd_from_nusd(limit + 1))

    batch = run_until_held(mill, project, limit)

    assert_a_third_ran(mill, batch, limit)
    mill.say(*set_budget, "--day", "100", "--total", "none")
    assert_all_ran_once(mill, batch["id"])
    windows = mill.json("budget", "show", "--project", project)["windows"]
    assert [window["window"] for window in windows] == ["day", "month", "total"]
    spent = mill.simulator.bill()["total_nusd"]
    for window in windows:
        assert (window["spent_nusd"], window["reserved_nusd"]) == (spent, 0)


def test_a_cap_for_a_third_holds_the_rest_until_it_is_raised(mill: WholeMill) -> None:
    limit = third_of_the_price(mill)
    project = mill.project()

    batch = run_until_held(mill, project, limit, "--max-cost", usd_from_nusd(limit))

    assert_a_third_ran(mill, batch, limit)
    lower = mill.call("resume", batch["id"], "--max-cost", "nothing")
    assert lower.returncode == 2
    mill.say("resume", batch["id"], "--max-cost", "100")
    assert_all_ran_once(mill, batch["id"])


def test_a_job_that_can_never_fit_fails_with_the_figures(mill: WholeMill) -> None:
    batch = mill.submit(lines("never", 1), "--max-cost", "0.000001")
    mill.ended(batch["id"])
    (line,) = mill.results(batch["id"])
    error = line["error"]
    assert (line["status"], error["code"]) == ("failed", "budget_exceeded")
    assert error["need_nusd"] > error["limit_nusd"] == 1000
    assert mill.simulator.bill()["calls"] == 0
