"""Plans: kept before a batch runs, told beside what it cost, and better after each batch."""

import threading
from typing import Any

import httpx
import pytest

from producer.api.shapes.batches import ReportShape
from producer.bootstrap import ProducerContext
from shared.db.repositories import batch_plans, cost_tallies
from shared.deciding.answer_kinds import is_mark
from shared.domain.inference import TaskType
from tests.integration.producer.finished import finish, number_of
from tests.integration.producer.test_api_batches import JSONL, made
from worker.maintenance.cost_learner import CostLearner

LINES = b"".join(b'{"prompt":"Who was the mother of king number %d?"}\n' % i for i in range(20))
OUTPUT = 13


def planned(api: httpx.Client, content: bytes = LINES) -> dict[str, Any]:
    response = api.post("/v1/plan", content=content, headers=JSONL)
    assert response.status_code == 200, response.text
    return response.json()


def run(
    api: httpx.Client, context: ProducerContext, content: bytes = LINES, *, weak: int = 0
) -> str:
    """A batch whose lines are all answered by the model that the plan names first."""
    model = context.catalog.models[planned(api, content)["models"][0]["model"]]
    asked = {"model": model.name, "provider": model.provider, "tier": model.tier.value}
    batch: str = made(api, content)["id"]
    for line in range(1, content.count(b"\n") + 1):
        accepted = line > weak
        finish(
            context, batch, line, asked=asked, output_tokens=OUTPUT, accepted=accepted,
            cost_nusd=20_000,
        )  # fmt: skip
    return batch


def learn(context: ProducerContext) -> int:
    return CostLearner(context.database).run_once(context.clock())


def test_a_batch_keeps_what_was_expected_of_it_and_the_report_tells_both(
    api: httpx.Client, context: ProducerContext
):
    expected = planned(api)
    batch = run(api, context)
    report = api.get(f"/v1/batches/{batch}/report").json()
    ReportShape.model_validate(report, strict=True)  # as its page says
    predicted = report["predicted"]
    assert predicted["now"] is None
    assert predicted["cost_nusd"] == expected["cost_nusd"]
    assert predicted["models"] == expected["models"]
    actual = predicted["actual"]
    assert (actual["is_final"], actual["cost_nusd"]) == (True, 20 * 20_000)
    assert actual["of_p50"] == pytest.approx(20 * 20_000 / expected["cost_nusd"]["p50"], rel=1e-3)
    assert actual["seconds"] >= 0

    learn(context)
    assert planned(api)["cost_nusd"] != expected["cost_nusd"]
    again = api.get(f"/v1/batches/{batch}/report").json()["predicted"]
    assert again["cost_nusd"] == expected["cost_nusd"]


def test_the_prediction_stands_before_the_first_job_ran(
    api: httpx.Client, context: ProducerContext
):
    batch = made(api, LINES)["id"]
    predicted = api.get(f"/v1/batches/{batch}/report").json()["predicted"]
    assert predicted["cost_nusd"]["p50"] > 0
    now = predicted["now"]
    assert now["cost_nusd"]["p50"] == predicted["cost_nusd"]["p50"]
    assert now["seconds_left"] == predicted["seconds"]
    assert predicted["actual"] == {
        "is_final": False, "cost_nusd": 0, "cost_usd": "0.0", "of_p50": 0.0, "within_p95": True,
        "seconds": None,
    } | {"cost_usd": predicted["actual"]["cost_usd"]}  # fmt: skip


def test_lines_that_ask_the_same_are_expected_to_cost_once(
    api: httpx.Client, context: ProducerContext
):
    once, twice = made(api, LINES)["id"], made(api, LINES * 2)["id"]
    costs = [
        api.get(f"/v1/batches/{batch}/report").json()["predicted"]["cost_nusd"]
        for batch in (once, twice)
    ]
    assert costs[0] == costs[1]


def test_a_batch_is_learned_once_however_many_look(api: httpx.Client, context: ProducerContext):
    run(api, context, weak=3)
    learned: list[int] = []
    threads = [threading.Thread(target=lambda: learned.append(learn(context))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(learned), sum(learned)) == (4, 1)
    with context.database.reading() as connection:
        tallies = cost_tallies.of_project(connection, "default")
    marks = {kind for _, kind in tallies if is_mark(kind)}
    assert {kind for _, kind in tallies} - marks == {TaskType.SIMPLE_QA.value}
    assert len(marks) == 2, "how the prompts begin, and how they end"
    for tally in tallies.values():
        assert (tally.answers, tally.weak, tally.input_tokens) == (20, 3, 200)


def test_after_some_batches_a_plan_knows_how_long_answers_are(
    api: httpx.Client, context: ProducerContext
):
    before = planned(api)
    for _ in range(6):
        run(api, context)
        assert learn(context) == 1
    after = planned(api)
    model = context.catalog.models[after["models"][0]["model"]]
    prices = model.price.base
    usual = 20 * float(10 * prices.input + OUTPUT * prices.output)
    assert after["cost_nusd"]["p50"] == pytest.approx(usual, rel=0.15)
    wide, narrow = (plan["cost_nusd"]["p95"] / plan["cost_nusd"]["p50"] for plan in (before, after))
    assert narrow < wide


def test_a_batch_that_runs_teaches_nothing_yet_and_its_first_plan_stays(
    api: httpx.Client, context: ProducerContext
):
    number = number_of(context, made(api, LINES)["id"])
    assert learn(context) == 0
    with context.database.transaction() as connection:
        kept = batch_plans.of(connection, number)
        batch_plans.add(connection, number, {"cost_nusd": {}}, context.clock())
        again = batch_plans.of(connection, number)
    assert kept == again
