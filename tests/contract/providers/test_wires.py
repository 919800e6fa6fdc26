"""One conformance suite over the four wires: what goes out says the same, what comes in reads the
same.
"""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from shared.catalog.spec import WireName
from shared.domain.inference import FinishReason, Request, Usage
from tests.unit.providers.answers import (
    anthropic_answer,
    cohere_answer,
    gemini_answer,
    openai_answer,
)
from tests.unit.providers.specs import ask, model_of, provider_of
from worker.providers.errors import MaybeBilled, NotSent, Unavailable
from worker.providers.registry import WIRES

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "look", "description": "Looks", "parameters": SCHEMA},
    }
]
TALK = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    {"role": "tool", "tool_call_id": "c1", "content": '{"again":2}'},
    {"role": "user", "content": "go on"},
)


@dataclass(frozen=True)
class Case:
    name: WireName
    path: str
    limit: tuple[str, ...]
    answer: Any
    length: str
    blocked: str | None
    failed: str | None

    @property
    def wire(self) -> Any:
        return WIRES[self.name]

    def encode(self, request: Request, max_tokens: int = 77, **model: Any) -> tuple[Any, Any]:
        provider = provider_of(self.name)
        call = self.wire.encode(model_of(**model), provider, request, max_tokens)
        return call, orjson.loads(call.body)

    def decode(self, *args: Any, **usage: Any) -> Any:
        return self.wire.decode(orjson.dumps(self.answer(*args, **usage)))


CASES = [
    Case(
        WireName.OPENAI, "/chat/completions", ("max_tokens",), openai_answer,
        "length", "content_filter", "error",
    ),
    Case(
        WireName.ANTHROPIC, "/v1/messages", ("max_tokens",), anthropic_answer,
        "max_tokens", "refusal", None,
    ),
    Case(
        WireName.GEMINI, "/v1/models/acme-small-1:generateContent",
        ("generationConfig", "maxOutputTokens"), gemini_answer, "MAX_TOKENS", "SAFETY", "OTHER",
    ),
    Case(
        WireName.COHERE, "/v2/chat", ("max_tokens",), cohere_answer,
        "MAX_TOKENS", None, "TIMEOUT",
    ),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.name.value)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_the_limit_on_output_is_always_sent(case: Case):
    extras = {"max_completion_tokens": 10**6, "max_tokens": 10**6, "stream": True, "best_of": 9}
    call, body = case.encode(ask(extras=extras))
    assert call.path == case.path
    found = body
    for part in case.limit:
        found = found[part]
    assert found == 77
    assert str(10**6) not in call.body.decode()
    assert not body.get("stream")
    assert len(call.warnings) == 4


def test_all_of_a_talk_arrives(case: Case):
    call, _ = case.encode(Request(TALK, extras={"tools": TOOLS, "stop": "END", "top_p": 0.5}))
    text = call.body.decode()
    for part in ("Be brief.", "one", "two", "go on", "look", "seen", "again", "END", "Looks"):
        assert part in text
    assert call.warnings == ()


def test_what_a_wire_cannot_say_is_told(case: Case):
    call, body = case.encode(ask(extras={"frobnicate": 1}))
    if case.name is WireName.OPENAI:
        assert body["frobnicate"] == 1
    else:
        assert "frobnicate" in call.warnings[0]


def test_what_cannot_be_bounded_is_refused(case: Case):
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    with pytest.raises(NotSent, match="cannot_encode"):
        case.encode(Request(({"role": "user", "content": [image]},)))
    with pytest.raises(NotSent, match="cannot_encode"):
        case.encode(ask(extras={"tools": [{"type": "web_search"}]}))


def test_fields_a_model_or_host_refuses_are_left_out(case: Case):
    request = ask(temperature=0.3, extras={"seed": 4})
    _, body = case.encode(request, capabilities=frozenset({"json"}))
    assert b"temperature" not in orjson.dumps(body)
    provider = provider_of(case.name, drop_params=("temperature", "seed"))
    call = case.wire.encode(model_of(), provider, request, 5)
    assert b"temperature" not in call.body
    assert b"seed" not in call.body
    assert sum("refuses it" in warning for warning in call.warnings) == 2


def test_a_dearer_service_tier_is_never_bought(case: Case):
    call, _ = case.encode(ask(extras={"service_tier": "priority"}))
    assert b"priority" not in call.body
    assert "service_tier" in call.warnings[0]


def test_the_key_travels_in_a_header_only_and_keyless_hosts_get_none(case: Case):
    call, _ = case.encode(ask())
    assert any("k-123" in value for value in case.wire.auth_headers("k-123").values())
    assert "k-123" not in call.path
    assert case.wire.auth_headers("none") == {}


def test_an_answer_reads_as_a_chat_completion(case: Case):
    completion = case.decode("hello")
    assert completion.text == "hello"
    assert completion.finish_reason is FinishReason.STOP
    assert completion.usage == Usage(input_tokens=9, output_tokens=2)
    choice = completion.body["choices"][0]
    assert completion.body["object"] == "chat.completion"
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"]["content"] == "hello"
    assert completion.body["usage"]["total_tokens"] == 11


def test_blank_lines_before_the_json_are_no_matter(case: Case):
    assert case.wire.decode(b"\n\n \n" + orjson.dumps(case.answer("x"))).text == "x"


def test_a_truncated_answer_says_so(case: Case):
    assert case.decode("cut", case.length).finish_reason is FinishReason.LENGTH


def test_a_refused_answer_says_so(case: Case):
    if case.blocked is not None:
        assert case.decode("", case.blocked).finish_reason is FinishReason.CONTENT_FILTER


def test_an_answer_that_failed_is_an_error_with_its_price(case: Case):
    if case.failed is not None:
        with pytest.raises(Unavailable) as caught:
            case.decode("", case.failed)
        assert caught.value.billed == Usage(input_tokens=9, output_tokens=2)


def test_an_unknown_reason_is_refused_but_its_price_is_known(case: Case):
    with pytest.raises(MaybeBilled) as caught:
        case.decode("x", "abducted")
    assert caught.value.kind == "garbage"
    assert caught.value.billed == Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b"{}", b'{"choices":[]}', b"null"])
def test_garbage_is_maybe_billed(case: Case, body: bytes):
    with pytest.raises(MaybeBilled, match="garbage"):
        case.wire.decode(body)


def test_an_answer_without_usage_is_kept_and_says_so(case: Case):
    answer = {k: v for k, v in case.answer("kept").items() if k not in ("usage", "usageMetadata")}
    completion = case.wire.decode(orjson.dumps(answer))
    assert completion.text == "kept"
    assert completion.body["usage"] is None


@pytest.mark.parametrize(
    ("wire", "reported", "expected"),
    [
        ("openai", {"prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 4, 0, 0, 2)),
        (
            "openai",
            {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}},
            Usage(2, 4, 3, 0, 2),
        ),
        ("openai", {"prompt_cache_hit_tokens": 8}, Usage(1, 8, 0, 0, 2)),
        ("openai", {"prompt_tokens_details": {"cached_tokens": 99}}, Usage(0, 9, 0, 0, 2)),
        (
            "openai",
            {"completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5},
             "total_tokens": 16},
            Usage(9, 0, 0, 0, 7, 5),
        ),
        (
            "openai",
            {"completion_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 16},
            Usage(9, 0, 0, 0, 7, 5),
        ),
        (
            "anthropic",
            {"cache_creation_input_tokens": 10, "cache_read_input_tokens": 20,
             "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 3},
             "output_tokens_details": {"thinking_tokens": 1}},
            Usage(9, 20, 7, 3, 2, 1),
        ),
        (
            "gemini",
            {"thoughtsTokenCount": 30, "cachedContentTokenCount": 4, "toolUsePromptTokenCount": 1},
            Usage(6, 4, 0, 0, 32, 30),
        ),
        ("cohere", {"cached_tokens": 4.0}, Usage(9, 0, 0, 0, 2)),
        ("cohere", {"billed_units": {"input_tokens": 1.2, "output_tokens": 0.1}},
         Usage(2, 0, 0, 0, 1)),
    ],
)  # fmt: skip
def test_usage_is_taken_apart_without_counting_anything_twice(
    wire: str, reported: Any, expected: Any
):
    case = next(case for case in CASES if case.name == wire)
    completion = case.decode("x", **reported)
    assert completion.usage == expected
    shown = completion.body["usage"]
    assert shown["prompt_tokens"] == expected.total_input_tokens
    assert shown["completion_tokens"] == expected.output_tokens


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini", "cohere"])
def test_a_negative_usage_is_garbage(wire: str):
    case = next(case for case in CASES if case.name == wire)
    negative = {
        "openai": {"prompt_tokens": -1},
        "anthropic": {"input_tokens": -1},
        "gemini": {"promptTokenCount": -1},
        "cohere": {"billed_units": {"input_tokens": -1.0, "output_tokens": 0.0}},
    }[wire]
    with pytest.raises(MaybeBilled, match="garbage"):
        case.decode("x", **negative)


def test_tool_calls_come_back_in_openais_shape():
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    answers = {
        "openai": openai_answer(None, "tool_calls"),
        "anthropic": anthropic_answer("", "tool_use"),
        "gemini": gemini_answer(),
        "cohere": cohere_answer("", "TOOL_CALL"),
    }
    answers["openai"]["choices"][0]["message"]["tool_calls"] = [call]
    answers["anthropic"]["content"] = [
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
    ]
    part = {"functionCall": {"id": "t1", "name": "look", "args": {"a": 1}}}
    answers["gemini"]["candidates"][0]["content"]["parts"] = [part]
    answers["cohere"]["message"] = {"role": "assistant", "tool_calls": [call]}
    for name, answer in answers.items():
        completion = WIRES[WireName(name)].decode(orjson.dumps(answer))
        assert completion.has_tool_calls, name
        assert completion.body["choices"][0]["message"]["tool_calls"] == [call], name
        assert completion.text == ""


def test_openai_takes_the_hosts_name_for_the_limit():
    provider = provider_of("openai", max_tokens_field="max_completion_tokens")
    call = WIRES[WireName.OPENAI].encode(model_of(), provider, ask(), 7)
    assert orjson.loads(call.body)["max_completion_tokens"] == 7
    assert b'"max_tokens"' not in call.body


def test_logprobs_are_averaged():
    answer = openai_answer()
    answer["choices"][0]["logprobs"] = {"content": [{"logprob": -1.0}, {"logprob": -3.0}]}
    assert WIRES[WireName.OPENAI].decode(orjson.dumps(answer)).mean_logprob == -2.0


def test_an_error_inside_a_200_may_have_been_billed():
    with pytest.raises(MaybeBilled, match="error_in_answer"):
        WIRES[WireName.OPENAI].decode(b'{"error":{"code":502,"message":"upstream"}}')


def test_anthropic_is_pinned_to_the_version_that_takes_sampling():
    case = CASES[1]
    plain, _ = case.encode(ask())
    warm, body = case.encode(ask(temperature=1.4))
    assert plain.headers["anthropic-version"] == "2026-10-21"
    assert warm.headers["anthropic-version"] == "2023-06-01"
    assert body["temperature"] == 1.0
    assert "temperature" in warm.warnings[0]


def test_anthropic_gets_json_wishes_in_its_own_way():
    case = CASES[1]
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    _, body = case.encode(ask(response_format=wish))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    _, body = case.encode(ask(response_format={"type": "json_object"}))
    assert "JSON" in body["system"]


def test_anthropic_gathers_tool_results_in_one_message():
    _, body = CASES[1].encode(Request(TALK, extras={"tools": TOOLS, "tool_choice": "required"}))
    assert [message["role"] for message in body["messages"]] == [
        "user", "assistant", "user", "user",
    ]  # fmt: skip
    assert len(body["messages"][2]["content"]) == 2
    assert body["system"] == "Be brief."
    assert body["tool_choice"] == {"type": "any"}


def test_gemini_names_the_function_a_result_belongs_to():
    _, body = CASES[2].encode(Request(TALK, extras={"tools": TOOLS}))
    responses = [part["functionResponse"] for part in body["contents"][2]["parts"]]
    assert responses == [
        {"name": "look", "response": {"result": "seen"}},
        {"name": "look", "response": {"again": 2}},
    ]
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


def test_gemini_takes_schema_and_number_of_answers():
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    _, body = CASES[2].encode(ask(response_format=wish, extras={"n": 3}))
    config = body["generationConfig"]
    assert config["responseJsonSchema"] == SCHEMA
    assert config["responseMimeType"] == "application/json"
    assert config["candidateCount"] == 3


def test_a_prompt_gemini_blocks_is_an_answer_that_cost_its_input():
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    completion = WIRES[WireName.GEMINI].decode(orjson.dumps(body))
    assert completion.finish_reason is FinishReason.CONTENT_FILTER
    assert completion.text == ""
    assert "SAFETY" in (completion.refusal or "")
    assert completion.usage == Usage(input_tokens=9)


def test_gemini_without_candidates_or_reason_has_failed_at_its_price():
    with pytest.raises(Unavailable) as caught:
        WIRES[WireName.GEMINI].decode(b'{"usageMetadata":{"promptTokenCount":9}}')
    assert caught.value.billed == Usage(input_tokens=9)


def test_gemini_without_parts_is_an_empty_truncated_answer():
    answer = gemini_answer("", "MAX_TOKENS")
    answer["candidates"][0]["content"] = {"role": "model"}
    completion = WIRES[WireName.GEMINI].decode(orjson.dumps(answer))
    assert (completion.text, completion.finish_reason) == ("", FinishReason.LENGTH)


def test_cohere_offers_only_the_forced_tool():
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "function", "function": {"name": "look"}}
    _, body = CASES[3].encode(ask(extras={"tools": [*TOOLS, other], "tool_choice": choice}))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look"]
    assert body["tool_choice"] == "REQUIRED"
