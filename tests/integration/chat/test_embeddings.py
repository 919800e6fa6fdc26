"""Embeddings by OpenAI's official SDK, which asks for base64 unless it is told otherwise."""

from math import isclose
from typing import Any

import httpx
import openai
import pytest

from tests.integration.chat.conftest import ADMIN_KEY, ChatMill

TEXTS = ["What is the capital of France?", "Who was Ada Lovelace?"]


def ours(answer: Any) -> dict[str, Any]:
    return dict(answer.model_extra["promptmill"])


def test_the_sdks_base64_and_plain_numbers_are_the_same_vectors(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    packed = client.embeddings.create(model="embedder", input=TEXTS)
    cost = mill.simulator.bill()["total_nusd"]
    plain = client.embeddings.create(model="embedder", input=TEXTS, encoding_format="float")

    assert [each.index for each in packed.data] == [0, 1]
    assert isclose(sum(x * x for x in packed.data[0].embedding), 1, rel_tol=1e-5)
    for one, other in zip(packed.data, plain.data, strict=True):
        assert all(
            isclose(a, b, abs_tol=1e-6) for a, b in zip(one.embedding, other.embedding, strict=True)
        )
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.model == "embedder"
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0
    told = ours(packed)
    assert told["cost_nusd"] == cost > 0
    assert (told["task_type"], told["tier"], told["attempts"]) == (None, "cheap", 1)


@pytest.mark.parametrize("given", ["a text", [5, 6, 7], [[5], [6, 7]], ["a"] * 100])
def test_auto_embeds_every_kind_of_input_with_the_cheapest_model(
    client: openai.OpenAI, mill: ChatMill, given: Any
) -> None:
    answer = client.embeddings.create(model="auto", input=given, dimensions=16)
    wanted = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    assert [len(each.embedding) for each in answer.data] == [16] * wanted
    assert ours(answer)["model"] == "embedder"
    (attempt,) = mill.attempts_of(mill.last_job().id)
    assert attempt.cost_nusd == mill.simulator.bill()["total_nusd"] > 0
    assert attempt.output_tokens == 0


def test_a_model_that_answers_makes_no_embeddings_and_the_other_way_round(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    with pytest.raises(openai.BadRequestError, match="makes no embeddings"):
        client.embeddings.create(model="tiny", input="x")
    with pytest.raises(openai.BadRequestError, match="makes embeddings only"):
        client.chat.completions.create(
            model="embedder", messages=[{"role": "user", "content": "Hello"}]
        )
    assert mill.simulator.bill()["calls"] == 0


def test_a_bad_body_names_its_field(mill: ChatMill) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    url = f"{mill.url}/v1/embeddings"
    for body, param in (({}, "input"), ({"input": [""]}, "input[0]"), ({"input": 5}, "input")):
        answer = httpx.post(url, json=body, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_sick_provider_is_not_replaced_by_another_model(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.simulator.set_scenario({"rules": [{"fault": "500"}]})
    with pytest.raises(openai.APIStatusError):
        client.with_options(max_retries=0).embeddings.create(model="auto", input="x")
    assert {row.model for row in mill.attempts_of(mill.last_job().id)} == {"embedder"}
    mill.forget_health()
