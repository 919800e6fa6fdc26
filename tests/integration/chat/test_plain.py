"""Chat completions asked for whole, by OpenAI's official SDK."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from shared.db.tables import outbox
from shared.domain.job import batch_number_of, public_job_id
from tests.integration.chat.conftest import ADMIN_KEY, ChatMill

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def ours(answer: Any) -> dict[str, Any]:
    return dict(answer.model_extra["promptmill"])


def test_an_answer_of_every_wire_is_charged_as_the_provider_bills(
    client: openai.OpenAI, mill: ChatMill, model: str
) -> None:
    answer = client.chat.completions.create(model=model, messages=CAPITAL)

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.model == model
    told = ours(answer)
    assert told["cost_nusd"] == mill.simulator.bill()["total_nusd"] > 0
    assert (told["model"], told["streamed"], told["attempts"]) == (model, False, 1)
    assert told["job_id"] == public_job_id(mill.last_job().id)
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


def test_auto_is_routed_and_a_weak_answer_escalated(client: openai.OpenAI, mill: ChatMill) -> None:
    mill.simulator.set_scenario(
        {
            "rules": [
                {"match": {"wire": "openai"}, "fault": "empty"},
                {"match": {"wire": "anthropic"}, "fault": "empty"},
            ]
        }
    )
    answer = client.chat.completions.create(model="cheap", messages=CAPITAL)
    told = ours(answer)
    assert (told["escalated"], told["tier"]) == (True, "mid")
    assert told["cost_nusd"] == mill.simulator.bill()["total_nusd"]


@pytest.mark.parametrize("spelling", ["max_tokens", "max_completion_tokens"])
def test_both_spellings_of_the_limit_hold(
    client: openai.OpenAI, mill: ChatMill, spelling: str
) -> None:
    long: Any = [{"role": "user", "content": "Tell me a story about a lighthouse."}]
    limit: Any = {spelling: 7}
    answer = client.chat.completions.create(model="tiny", messages=long, **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7


def test_the_raw_response_has_its_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=CAPITAL)
    assert raw.headers["x-request-id"]
    assert raw.headers["x-promptmill-job"] == ours(raw.parse())["job_id"]


def test_tools_several_choices_seed_and_logprobs_pass_through(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    called = client.chat.completions.create(
        model="tiny", messages=CAPITAL, tools=[TOOL], tool_choice="required"
    )
    (call,) = called.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "look_up"
    assert '"city"' in call.function.arguments
    several = client.chat.completions.create(model="tiny", messages=CAPITAL, n=3, seed=7)
    assert [choice.index for choice in several.choices] == [0, 1, 2]


class City(BaseModel):
    name: str
    people: int


@pytest.mark.parametrize("wire", ["tiny", "other-tiny", "middle"])
def test_a_parsed_answer_fits_its_schema(client: openai.OpenAI, wire: str) -> None:
    answer = client.chat.completions.parse(model=wire, messages=CAPITAL, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.parametrize(
    ("wrong", "param", "kind"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type", openai.BadRequestError),
        ({"temperature": 3}, "temperature", openai.BadRequestError),
        ({"model": "no-such-model"}, "model", openai.NotFoundError),
        ({"messages": []}, "messages", openai.BadRequestError),
        ({"stream_options": {"include_usage": True}}, "stream_options", openai.BadRequestError),
        ({"extra_body": {"stream_options": []}}, "stream_options", openai.BadRequestError),
        ({"extra_body": {"max_cost_usd": "much"}}, "max_cost_usd", openai.BadRequestError),
        ({"extra_body": {"constraints": {"max": 1}}}, "constraints.max", openai.BadRequestError),
    ],
)
def test_a_wrong_field_is_named(
    client: openai.OpenAI, mill: ChatMill, wrong: Any, param: str, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "tiny", "messages": CAPITAL, **wrong})
    assert caught.value.param == param
    assert caught.value.code
    assert caught.value.request_id
    assert mill.simulator.bill()["calls"] == 0


def test_a_body_that_is_no_json_or_too_large_is_refused(mill: ChatMill) -> None:
    def post(body: bytes) -> httpx.Response:
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        url = f"{mill.url}/v1/chat/completions"
        return httpx.post(url, content=body, headers=headers, trust_env=False)

    for body in (b"", b"{", b"[]", b"\xff"):
        answer = post(body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (
            400,
            "invalid_request_error",
        )
    assert post(b" " * 5_000_000).status_code == 413


def test_what_the_budget_refuses_fails_at_once_and_is_not_asked_again(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.project_with_limit("poor", 10)
    poor = client.with_options(default_headers={"X-Promptmill-Project": "poor"})
    before = len(mill.rows_of_batches())
    with pytest.raises(openai.APIStatusError) as caught:
        poor.chat.completions.create(model="tiny", messages=CAPITAL)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(mill.rows_of_batches()) == before + 1
    assert mill.simulator.bill()["calls"] == 0
    assert mill.last_job().status == "failed"


def test_a_spent_budget_does_not_park_whoever_waits(client: openai.OpenAI, mill: ChatMill) -> None:
    mill.project_with_limit("spent", 45_000)
    body: Any = {"project": "spent"}
    ends = []
    for i in range(12):
        question: Any = [{"role": "user", "content": f"What is {i} plus 1?"}]
        try:
            client.chat.completions.create(
                model="tiny", messages=question, max_tokens=20, extra_body=body
            )
            ends.append((200, None))
        except openai.APIStatusError as error:
            ends.append((error.status_code, error.code))
    assert set(ends) == {(200, None), (402, "budget_exceeded")}
    assert mill.simulator.bill()["total_nusd"] <= 45_000
    spent = {row.number for row in mill.rows_of_batches() if row.project_id == "spent"}
    ended = {row.status for row in mill.rows_of_jobs() if batch_number_of(row.id) in spent}
    assert ended == {"completed", "failed"}


def test_a_cap_of_the_request_holds(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="large", messages=CAPITAL, extra_body={"max_cost_usd": "0.000001"}
        )
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")


@pytest.mark.parametrize(
    ("fault", "status", "again"), [("404", 404, "false"), ("400", 400, "false"), ("401", 503, None)]
)
def test_a_providers_error_keeps_its_meaning(
    client: openai.OpenAI, mill: ChatMill, fault: str, status: int, again: str | None
) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"wire": "cohere"}, "fault": fault}]})
    with pytest.raises(openai.APIStatusError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="large", messages=CAPITAL)
    assert caught.value.status_code == status
    assert caught.value.response.headers.get("x-should-retry") == again
    mill.forget_health()


def test_a_long_wait_of_a_provider_is_told_and_the_sdk_honours_it(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    rule = {"match": {"wire": "gemini"}, "fault": "429", "retry_after_s": 40, "times": 1}
    mill.simulator.set_scenario({"rules": [rule]})
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="middle", messages=CAPITAL)
    headers = caught.value.response.headers
    assert 30_000 < float(headers["retry-after-ms"]) <= 41_000
    assert caught.value.code in ("rate_limit_exceeded", "throttled")
    mill.forget_health()


def test_the_same_key_is_answered_once(client: openai.OpenAI, mill: ChatMill) -> None:
    again: Any = {"Idempotency-Key": "k-1"}
    first = client.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=again)
    second = client.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=again)
    assert ours(first) == ours(second)
    assert mill.simulator.bill()["calls"] == 1
    with pytest.raises(openai.ConflictError) as caught:
        client.chat.completions.create(model="large", messages=CAPITAL, extra_headers=again)
    assert caught.value.code == "idempotency_conflict"


def test_conversations_are_not_listed_among_batches_and_nobody_is_notified(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    client.chat.completions.create(model="tiny", messages=CAPITAL)
    batch = mill.last_batch()
    assert (batch.status, batch.priority, batch.completed) == ("completed", "interactive", 1)
    assert batch.id not in [each.id for each in client.batches.list(limit=100)]
    every = client.batches.list(limit=100, extra_query={"chat": "true"})
    assert batch.id in [each.id for each in every]
    assert [row for row in mill.rows(outbox) if row.data.get("id") == batch.id] == []


async def test_many_clients_are_answered_at_once(mill: ChatMill) -> None:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{mill.url}/v1", api_key=ADMIN_KEY, http_client=http
    ) as client:

        async def ask(number: int) -> str:
            question: Any = [{"role": "user", "content": f"What is {number} + {number}?"}]
            answer = await client.chat.completions.create(model="tiny", messages=question)
            return answer.choices[0].message.content or ""

        answers = await asyncio.gather(*(ask(n) for n in range(40)))
    assert all(str(2 * n) in answer for n, answer in enumerate(answers))
    assert mill.simulator.bill()["calls"] == 40


def test_an_answer_is_found_in_the_database_when_redis_forgot_to_tell(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.deafen()
    answer = client.chat.completions.create(model="tiny", messages=CAPITAL)
    assert "Paris" in (answer.choices[0].message.content or "")


def test_models_are_compared_side_by_side(mill: ChatMill) -> None:
    answer = httpx.post(
        f"{mill.url}/v1/compare",
        json={"prompt": "What is 2 + 3?", "models": ["tiny", "middle", "large"]},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
        timeout=60,
        trust_env=False,
    )
    told = answer.json()
    assert answer.status_code == 200
    assert [side["model"] for side in told["data"]] == ["tiny", "middle", "large"]
    assert all("5" in side["text"] and side["status"] == "completed" for side in told["data"])
    assert told["cost_nusd"] == sum(side["cost_nusd"] for side in told["data"])
    assert told["cost_nusd"] == mill.simulator.bill()["total_nusd"]


def test_one_failing_side_does_not_spoil_a_comparison(mill: ChatMill) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"wire": "cohere"}, "fault": "400"}]})
    answer = httpx.post(
        f"{mill.url}/v1/compare",
        json={"prompt": "What is 2 + 3?", "models": ["tiny", "large"]},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
        timeout=60,
        trust_env=False,
    )
    good, bad = answer.json()["data"]
    assert (good["status"], bad["status"]) == ("completed", "failed")
    assert bad["error"]["type"] == "invalid_request_error"
    for wrong in (
        {"models": []},
        {"models": ["tiny"]},
        {"models": ["x"], "prompt": "y"},
        {"models": ["tiny"], "prompt": "x", "messages": CAPITAL},
    ):
        refused = httpx.post(
            f"{mill.url}/v1/compare",
            json=wrong,
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
            trust_env=False,
        )
        assert refused.status_code in (400, 404)
