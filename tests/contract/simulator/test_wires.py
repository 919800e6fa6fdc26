import json

import httpx
import pytest

from tests.contract.simulator import wires
from tests.contract.simulator.wires import WIRES, Wire

each_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


@each_wire
def test_an_answer_has_the_wires_shape_and_its_text(provider: httpx.Client, wire: Wire):
    answer = wire.post(provider)
    assert answer.status_code == 200
    assert wire.text(answer.json()) == "The answer is 391."
    assert wire.usage(answer.json()) == wires.Billed(fresh=8, output=5)


@each_wire
def test_a_stream_carries_the_same_text_and_usage_as_a_plain_answer(
    provider: httpx.Client, wire: Wire
):
    prompt = "Tell me about the rivers of Norway"
    plain = wire.post(provider, prompt).json()
    stream = wire.post(provider, prompt, stream=True)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert wires.streamed(wire, stream.text) == (wire.text(plain), wire.usage(plain))


@each_wire
def test_max_tokens_cuts_the_answer_and_says_so(provider: httpx.Client, wire: Wire):
    answer = wire.post(provider, "Tell me about rivers", max_tokens=7).json()
    assert wire.usage(answer).output == 7
    assert len(wire.text(answer)) == 28
    assert wire.finish(answer).lower() in ("length", "max_tokens")


@each_wire
def test_the_same_prompt_and_model_give_the_same_answer(provider: httpx.Client, wire: Wire):
    first, again = (wire.post(provider, "Why is tea brewed?").json() for _ in range(2))
    assert wire.text(first) == wire.text(again)


@each_wire
def test_a_body_that_is_no_json_object_is_refused_in_the_vendors_shape(
    provider: httpx.Client, wire: Wire
):
    for content in (b"{", b"[]", b'{"messages": 3, "contents": 3, "model": "m"}'):
        path = wire.path("tiny")
        answer = provider.post(path, content=content, headers=wire.headers)
        assert answer.status_code == 400
        assert wire.error_message(answer.json())
    assert provider.get("/_simulator/bill").json()["total_nusd"] == 0


def test_anthropic_takes_both_auth_headers_and_refuses_sampling_only_in_the_new_version(
    provider: httpx.Client,
):
    def post(version: str | None, **extra: object) -> httpx.Response:
        headers = {"authorization": "Bearer key-tail"} | (
            {"anthropic-version": version} if version else {}
        )
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        return provider.post("/v1/messages", json=body | extra, headers=headers)

    assert post("2023-06-01", temperature=1, top_k=1).status_code == 200
    for name in ("temperature", "top_p", "top_k"):
        refused = post("2026-10-21", **{name: 1})
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == f"{name}: Extra inputs are not permitted"
    assert post(None).status_code == 400
    assert list(provider.get("/_simulator/bill").json()["by_key"]) == ["tail"]


def test_openai_gives_choices_logprobs_and_both_names_of_the_limit(provider: httpx.Client):
    answer = wires.OPENAI.post(provider, n=3, logprobs=True, top_logprobs=2).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == "The answer is 391."
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)
    assert answer["usage"]["completion_tokens"] == 15
    cut = wires.OPENAI.post(provider, max_completion_tokens=2).json()
    assert cut["choices"][0]["finish_reason"] == "length"


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 3, "maximum": 5},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
    },
    "required": ["name", "age", "mood", "tags"],
    "$defs": {"tag": {"type": "boolean"}},
}


@pytest.mark.parametrize(
    ("wire", "extra"),
    [
        (
            wires.OPENAI,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA},
                }
            },
        ),
        (
            wires.ANTHROPIC,
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        (
            wires.GEMINI,
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": SCHEMA,
                }
            },
        ),
        (wires.COHERE, {"response_format": {"type": "json_object", "json_schema": SCHEMA}}),
    ],
    ids=lambda value: value.name if isinstance(value, Wire) else "",
)
def test_a_schema_is_answered_by_an_object_that_fits(
    provider: httpx.Client, wire: Wire, extra: wires.Json
):
    value = json.loads(wire.text(wire.post(provider, "Describe a cat", **extra).json()))
    assert list(value) == ["name", "age", "mood", "tags"]
    assert 3 <= value["age"] <= 5
    assert value["mood"] in ("good", "bad")
    assert all(isinstance(tag, bool) for tag in value["tags"])
    assert len(value["tags"]) >= 2


def test_a_schema_that_is_none_is_refused_and_costs_nothing(provider: httpx.Client):
    broken = {"type": "object", "properties": {"a": {"type": "integer", "minimum": "low"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": broken}}
    assert wires.OPENAI.post(provider, response_format=form).status_code == 400
    assert provider.get("/_simulator/bill").json()["calls"] == 0


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_a_forced_tool_is_called_with_arguments_that_fit(provider: httpx.Client):
    function = {"name": "weather", "parameters": PARAMETERS}
    tool = {"type": "function", "function": function}
    choice = wires.OPENAI.post(provider, tools=[tool], tool_choice="required").json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    call = choice["message"]["tool_calls"][0]["function"]
    assert (call["name"], list(json.loads(call["arguments"]))) == ("weather", ["city"])

    tools = [{"name": "weather", "input_schema": PARAMETERS}]
    message = wires.ANTHROPIC.post(provider, tools=tools, tool_choice={"type": "any"}).json()
    assert message["stop_reason"] == "tool_use"
    assert list(message["content"][0]["input"]) == ["city"]

    declared = [{"functionDeclarations": [{"name": "weather", "parameters": PARAMETERS}]}]
    config = {"functionCallingConfig": {"mode": "ANY"}}
    body = wires.GEMINI.post(provider, tools=declared, toolConfig=config).json()
    part = body["candidates"][0]["content"]["parts"][0]
    assert list(part["functionCall"]["args"]) == ["city"]

    body = wires.COHERE.post(provider, tools=[tool], tool_choice="REQUIRED").json()
    assert body["finish_reason"] == "TOOL_CALL"
    assert body["message"]["tool_calls"][0]["function"]["name"] == "weather"


def test_models_are_those_of_the_price_table(provider: httpx.Client):
    listed = provider.get("/openai/v1/models").json()
    assert [entry["id"] for entry in listed["data"]] == ["tiny", "large-upstream"]
    assert provider.get("/v1/models/tiny").json()["object"] == "model"
    assert provider.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


def test_a_prompt_of_several_megabytes_is_taken(provider: httpx.Client):
    answer = wires.OPENAI.post(provider, "word " * 1_000_000)
    assert answer.json()["usage"]["prompt_tokens"] == 1_250_004
