"""Each kind of error ends as it should: the job, its price, how often the provider was asked."""

from collections import Counter
from typing import Any

import pytest

from tests.acceptance.whole_mill import Json, WholeMill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("running_mill", ["embedded"], indirect=True, scope="session"),
]

IN_FLIGHT = 2 * 256
"""Two workers' calls at once: what may be on its way before the first failures are known."""


def run(mill: WholeMill, lines: list[Json]) -> tuple[list[Json], Json]:
    """The results and the report of these lines; never paid less than the bill says."""
    batch = mill.submit(lines)
    mill.ended(batch["id"])
    report: Json = mill.json("report", batch["id"])
    assert report["total_cost_nusd"] >= mill.simulator.bill()["total_nusd"]
    return mill.results(batch["id"]), report


def ends(results: list[Json]) -> Counter[Any]:
    return Counter((line["status"], (line["error"] or {}).get("code")) for line in results)


@pytest.mark.parametrize("model", ["tiny", "other-tiny", "middle", "large"])
def test_passing_errors_are_retried_and_cost_nothing(mill: WholeMill, model: str) -> None:
    kinds = ("500", "503", "429", "504")
    rules = [{"match": {"contains": f"after {kind}."}, "fault": kind, "times": 1} for kind in kinds]
    mill.simulator.set_scenario({"latency_ms": 5, "rules": rules})

    results, report = run(
        mill, [{"prompt": f"Answer after {kind}.", "model": model} for kind in kinds]
    )

    assert ends(results) == {("completed", None): len(kinds)}
    assert [line["attempts"] for line in results] == [2] * len(kinds)
    assert report["total_cost_nusd"] == mill.simulator.bill()["total_nusd"]
    assert report["unconfirmed_nusd"] == 0


@pytest.mark.parametrize("fault", ["hang", "cut_before", "cut_after", "garbage"])
def test_what_may_have_been_billed_is_charged_and_told(mill: WholeMill, fault: str) -> None:
    rules = [{"match": {"model": "tiny"}, "fault": fault, "times": 1}]
    mill.simulator.set_scenario({"latency_ms": 5, "rules": rules})

    results, report = run(mill, [{"prompt": "What is 2 + 3?", "model": "tiny"}])

    assert ends(results) == {("completed", None): 1}
    assert report["unconfirmed_nusd"] > 0
    assert report["attempts_without_answer"]["unconfirmed"]["attempts"] == 1


def test_what_no_retry_can_mend_fails_at_once_with_the_providers_words(mill: WholeMill) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"model": "tiny"}, "fault": "400"}]})
    results, report = run(mill, [{"prompt": f"What is {n}?", "model": "tiny"} for n in range(5)])

    assert {line["status"] for line in results} == {"failed"}
    assert all(line["error"]["message"] and line["attempts"] == 1 for line in results)
    assert report["total_cost_nusd"] == 0


def test_wrong_json_climbs_until_it_is_right(mill: WholeMill) -> None:
    rules = [{"match": {"model": name}, "fault": "invalid_json"} for name in ("tiny", "other-tiny")]
    mill.simulator.set_scenario({"latency_ms": 5, "rules": rules})
    wish = {"type": "json_object"}

    results, _ = run(
        mill, [{"prompt": "Give JSON of 2 + 3.", "model": "cheap", "response_format": wish}]
    )

    assert ends(results) == {("completed", None): 1}
    assert results[0]["escalated"]
    assert results[0]["tier"] == "mid"


def test_a_storm_of_429_is_sat_out(mill: WholeMill) -> None:
    storm = {
        "match": {"model": "middle"},
        "fault": "429",
        "times": 400,
        "retry_after_s": 0.3,
        "dialect": "text",
    }
    mill.simulator.set_scenario({"latency_ms": 5, "rules": [storm]})

    results, report = run(
        mill, [{"prompt": f"What is {n} + 1?", "model": "middle"} for n in range(200)]
    )

    assert ends(results) == {("completed", None): 200}
    assert report["total_cost_nusd"] == mill.simulator.bill()["total_nusd"]


def test_a_dead_provider_is_asked_a_bounded_number_of_times(mill: WholeMill) -> None:
    # Calls of no time at all let workers begin more jobs than they have slots: these must not all
    # ask.
    run(mill, [{"prompt": f"What is {n}?", "model": "tiny"} for n in range(2 * IN_FLIGHT)])
    mill.simulator.reset()
    mill.simulator.set_scenario({"rules": [{"match": {"model": "large"}, "fault": "503"}]})
    count = 3 * IN_FLIGHT

    results, report = run(
        mill, [{"prompt": f"What is {n}?", "model": "large"} for n in range(count)]
    )

    assert ends(results) == {("failed", "provider_unavailable"): count}
    asked = sum(mill.simulator.outcomes().values())
    assert asked <= IN_FLIGHT + 20
    free = report["attempts_without_answer"]["free"]
    withdrawn = {one["kind"]: one["attempts"] for one in free["by_error"]}.get("withdrawn", 0)
    assert free["attempts"] == asked + withdrawn
    shown = {row["id"]: row["state"] for row in mill.json("providers")}
    assert shown["cohere"] == "open"


def test_a_sick_provider_is_passed_over(mill: WholeMill) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"model": "tiny"}, "fault": "500"}]})

    results, _ = run(mill, [{"prompt": f"What is {n} + {n}?", "model": "cheap"} for n in range(50)])

    assert ends(results) == {("completed", None): 50}
    assert {line["model"] for line in results} == {"other-tiny"}
