"""What people and judges say of answers is learned once, can be looked at, and can be forgotten."""

import threading
from typing import Any

import httpx
import pytest

from producer.bootstrap import ProducerContext
from shared.db.engine import Database
from shared.db.repositories import outcomes
from shared.deciding.learning import Evidence
from shared.domain.inference import TaskType
from shared.domain.job import job_id_of, public_job_id
from tests.integration.producer.finished import finish, number_of
from tests.integration.producer.test_api_batches import made
from worker.learned_routing import KEPT_S, LearnedRouting
from worker.maintenance.cost_learner import CostLearner
from worker.maintenance.feedback_learner import FeedbackLearner

LINES = b"".join(b'{"prompt":"Who was the mother of king number %d?"}\n' % i for i in range(12))
MODEL = "gpt-5.6-luna"
ASKED = {"model": MODEL, "provider": "openai", "tier": "cheap"}
KEY = (MODEL, TaskType.SIMPLE_QA)


def answered(api: httpx.Client, context: ProducerContext, *, weak: int = 0) -> list[str]:
    """A batch whose lines are all answered, the first ones weakly; its jobs' ids."""
    batch = made(api, LINES)["id"]
    for line in range(1, 13):
        finish(context, batch, line, asked=ASKED, accepted=line > weak)
    number = number_of(context, batch)
    return [public_job_id(job_id_of(number, line)) for line in range(1, 13)]


def told(api: httpx.Client) -> dict[str, Any]:
    response = api.get("/v1/outcomes")
    assert response.status_code == 200, response.text
    return response.json()


def say(api: httpx.Client, job: str, score: float) -> httpx.Response:
    return api.post(f"/v1/jobs/{job}/feedback", json={"score": score})


def learn(database: Database, context: ProducerContext) -> int:
    return FeedbackLearner(database).run_once(context.clock())


def evidence(context: ProducerContext) -> Any:
    with context.database.reading() as connection:
        return outcomes.of_project(connection, "default", context.clock())[KEY]


def test_a_batch_teaches_what_the_judge_said_of_its_answers_once(
    api: httpx.Client, context: ProducerContext
):
    answered(api, context, weak=3)
    found: list[int] = []
    learner = CostLearner(context.database)
    threads = [
        threading.Thread(target=lambda: found.append(learner.run_once(context.clock())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(found), sum(found)) == (3, 1)
    share = 100 / 112  # of twelve answers of one batch
    seen = evidence(context)
    assert (seen.passed, seen.refused) == (
        pytest.approx(9 * share, rel=1e-3), pytest.approx(3 * share, rel=1e-3)
    )  # fmt: skip
    assert seen.difficulties / seen.seen == pytest.approx(0.125)
    (row,) = told(api)["data"]
    assert (row["model"], row["task_type"]) == (MODEL, "simple_qa")
    assert row["success"] < row["prior"]
    assert row["quality_shift"] < 0


def test_each_word_counts_once_and_the_last_one_counts(api: httpx.Client, context: ProducerContext):
    jobs = answered(api, context)
    for job in jobs[:6]:
        assert say(api, job, 0).json() == {
            "object": "feedback", "job_id": job, "model": MODEL, "task_type": "simple_qa",
            "score": 0.0,
        }  # fmt: skip
    assert learn(context.database, context) == 6
    assert learn(context.database, context) == 0
    assert say(api, jobs[0], 0).status_code == 200
    assert learn(context.database, context) == 0
    assert evidence(context).bad == pytest.approx(6, rel=1e-3)

    say(api, jobs[0], 1)
    assert api.get(f"/v1/jobs/{jobs[0]}").json()["feedback"] == 1
    assert learn(context.database, context) == 1
    seen = evidence(context)
    assert (seen.good, seen.bad) == (pytest.approx(1, rel=1e-3), pytest.approx(5, rel=1e-3))


def test_a_learner_that_dies_before_its_commit_has_learned_nothing(
    api: httpx.Client, context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    say(api, answered(api, context)[0], 1)

    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "mark_feedback_learned", die)
        with pytest.raises(RuntimeError, match="killed"):
            learn(context.database, context)
    assert told(api)["data"] == []
    assert learn(context.database, context) == 1
    assert evidence(context).good == pytest.approx(1, rel=1e-3)


def test_what_was_learned_moves_the_route_and_can_be_forgotten(
    api: httpx.Client, context: ProducerContext
):
    line = {"prompt": "Who was the mother of king number 3?"}
    usual = api.post("/v1/route", json=line).json()["model"]
    batch = made(api, LINES)["id"]
    model = context.catalog.models[usual]
    asked = {"model": usual, "provider": model.provider, "tier": model.tier.value}
    for number in range(1, 13):
        finish(context, batch, number, asked=asked)
        job = public_job_id(job_id_of(number_of(context, batch), number))
        assert say(api, job, 0).status_code == 200
    assert learn(context.database, context) == 12

    assert api.post("/v1/route", json=line).json()["model"] != usual
    assert api.delete("/v1/outcomes", params={"task_type": "coding"}).json()["forgotten"] == 0
    assert api.delete("/v1/outcomes", params={"model": usual}).json()["forgotten"] == 1
    assert api.post("/v1/route", json=line).json()["model"] == usual


def test_feedback_is_for_answers_of_ones_own_project(api: httpx.Client, context: ProducerContext):
    job = answered(api, context)[0]
    api.post("/v1/projects", json={"name": "other"})
    other = api.post("/v1/keys", json={"project": "other"}).json()["key"]
    foreign = {"Authorization": f"Bearer {other}"}
    path = f"/v1/jobs/{job}/feedback"
    assert api.post(path, json={"score": 1}, headers=foreign).status_code == 404
    assert api.post(path, json={"score": 1.5}).status_code == 400
    assert api.post(path, json={"score": True}).status_code == 400
    assert api.delete("/v1/outcomes", headers=foreign).status_code == 403
    waiting = made(api, LINES)["id"]
    unanswered = public_job_id(job_id_of(number_of(context, waiting), 1))
    refused = say(api, unanswered, 1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_answer")


def test_a_new_batch_is_routed_by_what_is_known_then_a_running_one_by_half_a_minute_ago(
    context: ProducerContext,
):
    now = [0.0]
    routing = LearnedRouting(context.catalog, clock=context.clock, since=lambda: now[0])

    def shift(batch: int = 0) -> float:
        with context.database.reading() as connection:
            return routing.of(connection, "default", batch).shift(*KEY)

    assert shift(batch=1) == 0.0
    with context.database.transaction() as connection:
        outcomes.add(connection, "default", {KEY: Evidence(bad=30.0)}, context.clock())
    assert (shift(batch=1), shift()) == (0.0, 0.0)
    assert shift(batch=2) < 0.0
    assert shift(batch=1) < 0.0
    with context.database.transaction() as connection:
        outcomes.forget(connection, "default", None, None)
    assert shift(batch=2) < 0.0
    now[0] = KEPT_S
    assert shift(batch=2) == 0.0
