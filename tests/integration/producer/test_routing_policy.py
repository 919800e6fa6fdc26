"""A project's routing policy over the API, and what a trial of another one shows."""

import random

import httpx
import pytest
from typer.testing import CliRunner

from producer.bootstrap import ProducerContext
from producer.cli.main import app
from shared.deciding.trials import arm_of
from shared.domain.job import job_id_of, public_job_id
from tests.integration.producer.finished import finish, number_of
from tests.integration.producer.test_api_batches import made

MODEL = "gpt-5.6-luna"


def lines(count: int) -> bytes:
    return b"".join(b'{"prompt":"Who was the mother of king %d?"}\n' % i for i in range(count))


def test_wishes_are_set_one_by_one_and_left_to_the_catalog_by_null(api: httpx.Client):
    wishes = {"agreement": True, "allowed_models": [MODEL], "preferences": {"cost": 1}}
    told = api.put("/v1/routing", json=wishes).json()
    assert told["policy"] == wishes | {"preferences": {"cost": 1, "latency": 0, "quality": 0}}
    auto = api.put("/v1/routing", json={"agreement": "auto"}).json()
    assert auto["policy"]["agreement"] == "auto"
    told = api.put("/v1/routing", json={"agreement": None, "max_climbs": 1}).json()
    assert set(told["policy"]) == {"allowed_models", "preferences", "max_climbs"}
    assert api.get("/v1/routing").json() == told
    assert api.post("/v1/route", json={"prompt": "Prove it at length."}).json()["model"] == MODEL


def test_wishes_hold_per_project_task_type_and_request(api: httpx.Client):
    def first(prompt: str, **fields: object) -> str:
        told = api.post("/v1/route", json={"prompt": prompt, **fields}).json()
        return str(told["model"])

    code, fact = "Write a Python function that adds two numbers.", "What is the capital of France?"
    usual = first(fact)
    coding = {"preferred_models": ["gpt-5.6-terra"], "max_cost_usd": "0.5", "max_latency_s": 4.0}
    told = api.put(
        "/v1/routing", json={"by_task_type": {"coding": coding}, "max_latency_s": 5}
    ).json()
    assert told["policy"] == {"by_task_type": {"coding": coding}, "max_latency_s": 5.0}
    assert first(code) == "gpt-5.6-terra"
    assert first(fact) == usual != "gpt-5.6-terra"
    assert first(code, constraints={"max_cost_usd": "0.0015"}) != "gpt-5.6-terra"
    assert first(fact, preferred_models=["gpt-5.6-terra"]) == "gpt-5.6-terra"
    assert first("Why?", model="best") != "gpt-5.6-sol", "it usually takes 6 s"

    api.put("/v1/routing", json={"by_task_type": {"coding": {"max_cost_usd": "0.0001"}}})
    refused = api.post("/v1/route", json={"prompt": code * 20}).json()
    assert refused["error"]["code"] == "no_model"
    assert "max_cost_usd" in refused["error"]["message"]
    api.put("/v1/routing", json={"by_task_type": None, "max_latency_s": None})
    assert first(code) != "gpt-5.6-terra"


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"allowed_models": ["nobody"]}, "allowed_models"),
        ({"max_climbs": 3}, "max_climbs"),
        ({"agreement": "yes"}, "agreement"),
        ({"preferences": {"cost": 0}}, "preferences"),
        ({"classify_with": "nobody"}, "classify_with"),
        ({"rubric": {"text": "Good.", "judge": "nobody"}}, "rubric.judge"),
        ({"speed": 1}, "speed"),
        ({"max_latency_s": 0}, "max_latency_s"),
        ({"max_cost_usd": "-1"}, "max_cost_usd"),
        ({"fallback_models": ["nobody"]}, "fallback_models"),
        (
            {"by_task_type": {"coding": {"preferred_models": ["nobody"]}}},
            "by_task_type.coding.preferred_models",
        ),
        ({"by_task_type": {"coding": {"agreement": True}}}, "by_task_type.coding.agreement"),
        ({"by_task_type": {"poetry": {}}}, "by_task_type.poetry.[key]"),
    ],
)
def test_a_wrong_wish_is_refused_by_its_name(
    api: httpx.Client, wishes: dict[str, object], param: str
):
    refused = api.put("/v1/routing", json=wishes)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert api.get("/v1/routing").json()["policy"] == {}


def test_a_trial_tells_which_policy_is_better_and_whether_by_chance(
    api: httpx.Client, context: ProducerContext
):
    assert api.get("/v1/routing/trial").status_code == 404
    body = {"name": "cheaper", "policy": {"preferences": {"cost": 1}}}
    assert api.post("/v1/routing/trial", json=body).json()["trial"]["share"] == 0.5
    batch = made(api, lines(100))["id"]
    number, chance = number_of(context, batch), random.Random(1)
    arms = {"a": 0, "b": 0}
    for line in range(1, 101):
        arm = arm_of("cheaper", job_id_of(number, line), 0.5).value
        arms[arm] += 1
        finish(
            context, batch, line, accepted=chance.random() < 0.9,
            cost_nusd=round((1000 if arm == "a" else 500) * chance.uniform(0.5, 1.5)),
            decision={"trial": {"name": "cheaper", "arm": arm}},
        )  # fmt: skip
    told = api.get("/v1/routing/trial").json()
    assert {arm: told["arms"][arm]["jobs"] for arm in arms} == arms
    assert told["arms"]["a"]["accepted"] == pytest.approx(0.9, abs=0.12)
    cost = told["differences"]["cost_nusd"]
    assert cost["significant"]
    assert cost["value"] == pytest.approx(-500, abs=cost["error_95"] * 1.5)
    assert told["differences"]["feedback"] == {
        "value": None, "error_95": None, "p": None, "significant": False
    }  # fmt: skip
    assert (told["better"], told["because"]) == ("b", "cost_nusd")

    # What people say weighs more than what it costs.
    for line in range(1, 101):
        job = job_id_of(number, line)
        score = 1 if arm_of("cheaper", job, 0.5) == "a" or line % 3 else 0
        api.post(f"/v1/jobs/{public_job_id(job)}/feedback", json={"score": score})
    told = api.delete("/v1/routing/trial").json()
    assert (told["better"], told["because"]) == ("a", "feedback")
    assert api.get("/v1/routing").json()["trial"] is None


def test_the_command_line_sets_policies_tells_trials_and_forgets_what_was_learned(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMPTMILL_API_URL", str(api.base_url))
    monkeypatch.setenv("PROMPTMILL_API_KEY", api.headers["authorization"].split()[1])

    def told(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == code, done.output
        return done.output

    assert "agreement" in told("routing", "set", "agreement=true", "max_climbs=1")
    told("routing", "set", "agreement", code=2)
    told("routing", "trial", "begin", "cheap", 'preferences={"cost": 1}', "--share", "0.2")
    assert "trial cheap: 20%" in told("routing", "show")
    assert "neither is shown to be better" in told("routing", "trial", "end")
    assert "has learned nothing yet" in told("learned", "show")
    assert "forgotten in project default: 0" in told("learned", "reset", "--task-type", "coding")
    told("feedback", "job_1000001", "splendid", code=2)
