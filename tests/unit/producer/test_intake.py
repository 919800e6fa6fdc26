"""Intake: each line becomes a request, or is refused with line, field, code and reason."""

import io
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.intake import IntakeLimits, RejectedLine, ValidLine, read_lines
from producer.intake.first_lines import FirstLines
from shared.domain.inference import Preferences, Request, Tier

MODELS = ("gpt-5.6-luna", "org/model:1")
LIMITS = IntakeLimits(max_line_bytes=2048)


def read(content: bytes | Iterable[bytes], limits: IntakeLimits = LIMITS):
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    return list(read_lines(source, limits, MODELS))


def one(content: bytes | dict[str, Any]):
    (line,) = read(content if isinstance(content, bytes) else orjson.dumps(content))
    return line


def request_of(raw: dict[str, Any]) -> Request:
    line = one(raw)
    assert isinstance(line, ValidLine), line
    return line.request


def openai(**body: Any) -> dict[str, Any]:
    whole = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": whole}


def messages(*items: Any) -> dict[str, Any]:
    return {"messages": list(items)}


HOSTILE: list[tuple[bytes | dict[str, Any], str, str | None]] = [
    (b"{", "invalid_json_line", None),
    (b"hello", "invalid_json_line", None),
    (b'{"prompt": NaN}', "invalid_json_line", None),
    (b'{"prompt": "a", "temperature": Infinity}', "invalid_json_line", None),
    (b'{"prompt": "a", "temperature": -Infinity}', "invalid_json_line", None),
    (b'{"prompt": "a"} {"prompt": "b"}', "invalid_json_line", None),
    (b"{'prompt': 'a'}", "invalid_json_line", None),
    (b'{"prompt": "a",}', "invalid_json_line", None),
    (b"\xff\xfe{}", "invalid_encoding", None),
    (b'{"prompt": "caf\xe9"}', "invalid_encoding", None),
    (b'{"prompt": "\\ud800"}', "invalid_encoding", None),
    (b'{"prompt": "\\udc00 x"}', "invalid_encoding", None),
    (b'{"prompt": "\xed\xa0\x80"}', "invalid_encoding", None),
    (b'{"prompt": "a\x00b"}', "nul_character", None),
    (b'{"prompt": "a\\u0000b"}', "nul_character", None),
    (b'{"prompt": "a", "metadata": {"k": ["\\u0000"]}}', "nul_character", None),
    (b'{"prompt": "a", "metadata": {"\\u0000": 1}}', "nul_character", None),
    (b"[]", "not_an_object", None),
    (b"null", "not_an_object", None),
    (b'"text"', "not_an_object", None),
    (b"17", "not_an_object", None),
    (b'{"prompt": "a", "temperature": 1e400}', "invalid_value", None),
    (b'{"prompt": "a", "metadata": {"n": 123456789012345678901234567890}}', "invalid_value", None),
    (b'{"prompt": "a", "metadata": {"n": 18446744073709551616}}', "invalid_value", None),
    (b'{"prompt": "a", "metadata": {"n": -9223372036854775809}}', "invalid_value", None),
    (b'{"prompt": "a", "metadata": ' + b"[" * 40 + b"]" * 40 + b"}", "nested_too_deeply", None),
    (b"[" * 1500, "nested_too_deeply", None),
    (b'{"prompt": "a", "prompt": "b"}', "duplicate_key", "prompt"),
    (
        (
            b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": '
            b'{"model": "tiny", "model": "tiny", "messages": [{"role": "user", "content": "a"}]}}'
        ),
        "duplicate_key",
        "model",
    ),
    (b'{"a":' * 300 + b"1" + b"}" * 300, "nested_too_deeply", None),
    ({"prompt": "x" * 3000}, "line_too_long", None),
    ({}, "missing_required_parameter", "prompt"),
    ({"prompt": None}, "missing_required_parameter", "prompt"),
    ({"custom_id": "a"}, "missing_required_parameter", "prompt"),
    ({"prompt": "a", "messages": []}, "prompt_and_messages", "prompt"),
    ({"prompt": 7}, "invalid_type", "prompt"),
    ({"prompt": ["a"]}, "invalid_type", "prompt"),
    ({"prompt": " \n"}, "invalid_value", "prompt"),
    ({"prompt": "a", "custom_id": 7}, "invalid_type", "custom_id"),
    ({"prompt": "a", "custom_id": ""}, "invalid_value", "custom_id"),
    ({"prompt": "a", "custom_id": "x" * 513}, "invalid_value", "custom_id"),
    ({"prompt": "a", "model": "gpt-99"}, "model_not_found", "model"),
    ({"prompt": "a", "model": ["auto"]}, "invalid_type", "model"),
    ({"prompt": "a", "model": "manual"}, "model_not_found", "model"),
    ({"prompt": "a", "max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"prompt": "a", "max_tokens": -5}, "invalid_value", "max_tokens"),
    ({"prompt": "a", "max_tokens": 1_000_001}, "invalid_value", "max_tokens"),
    ({"prompt": "a", "max_tokens": True}, "invalid_type", "max_tokens"),
    ({"prompt": "a", "max_tokens": "10"}, "invalid_type", "max_tokens"),
    ({"prompt": "a", "max_tokens": 10.0}, "invalid_type", "max_tokens"),
    ({"prompt": "a", "max_completion_tokens": 0}, "invalid_value", "max_completion_tokens"),
    ({"prompt": "a", "temperature": 2.1}, "invalid_value", "temperature"),
    ({"prompt": "a", "temperature": "hot"}, "invalid_type", "temperature"),
    ({"prompt": "a", "temperature": False}, "invalid_type", "temperature"),
    ({"prompt": "a", "temprature": 1}, "unknown_parameter", "temprature"),
    ({"prompt": "a", "max_cost_usd": 1}, "unknown_parameter", "max_cost_usd"),
    ({"prompt": "a", "response_format": "json"}, "invalid_type", "response_format"),
    ({"prompt": "a", "response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    (
        {"prompt": "a", "response_format": {"type": "json_schema"}},
        "missing_required_parameter",
        "response_format.json_schema",
    ),
    (
        {"prompt": "a", "response_format": {"type": ["text"]}},
        "invalid_value",
        "response_format.type",
    ),
    ({"prompt": "a", "preferences": {"costs": 1}}, "unknown_parameter", "preferences.costs"),
    ({"prompt": "a", "preferences": {"cost": -1}}, "invalid_value", "preferences.cost"),
    ({"prompt": "a", "preferences": {"cost": 0}}, "invalid_value", "preferences"),
    ({"prompt": "a", "preferences": "cheap"}, "invalid_type", "preferences"),
    (
        {"prompt": "a", "constraints": {"max_cost_usd": -1}},
        "invalid_value",
        "constraints.max_cost_usd",
    ),
    (
        {"prompt": "a", "constraints": {"max_cost_usd": True}},
        "invalid_type",
        "constraints.max_cost_usd",
    ),
    (
        {"prompt": "a", "constraints": {"max_cost_usd": "1 USD"}},
        "invalid_value",
        "constraints.max_cost_usd",
    ),
    (
        {"prompt": "a", "constraints": {"max_latency_s": 0}},
        "invalid_value",
        "constraints.max_latency_s",
    ),
    ({"prompt": "a", "constraints": {"min_tier": "top"}}, "invalid_value", "constraints.min_tier"),
    ({"prompt": "a", "constraints": {"min_tier": []}}, "invalid_value", "constraints.min_tier"),
    (
        {"prompt": "a", "constraints": {"allowed_models": ["nope"]}},
        "model_not_found",
        "constraints.allowed_models[0]",
    ),
    (
        {"prompt": "a", "constraints": {"allowed_models": []}},
        "invalid_value",
        "constraints.allowed_models",
    ),
    ({"prompt": "a", "constraints": {"mintier": 1}}, "unknown_parameter", "constraints.mintier"),
    ({"prompt": "a", "fallback_models": "gpt-5.6-luna"}, "invalid_type", "fallback_models"),
    ({"prompt": "a", "preferred_models": ["nobody"]}, "model_not_found", "preferred_models[0]"),
    ({"prompt": "a", "metadata": []}, "invalid_type", "metadata"),
    ({"messages": []}, "invalid_value", "messages"),
    ({"messages": "hi"}, "invalid_type", "messages"),
    (messages("hi"), "invalid_type", "messages[0]"),
    (messages({"content": "hi"}), "missing_required_parameter", "messages[0].role"),
    (messages({"role": "king", "content": "hi"}), "invalid_value", "messages[0].role"),
    (messages({"role": ["user"], "content": "hi"}), "invalid_value", "messages[0].role"),
    (messages({"role": "user"}), "missing_required_parameter", "messages[0].content"),
    (messages({"role": "user", "content": 5}), "invalid_type", "messages[0].content"),
    (messages({"role": "user", "content": []}), "invalid_value", "messages[0].content"),
    (
        messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        "unsupported_parameter",
        "messages[0].content[0].type",
    ),
    (
        messages({"role": "user", "content": [{"type": "text", "text": 1}]}),
        "invalid_type",
        "messages[0].content[0].text",
    ),
    (openai(stream=True), "unsupported_parameter", "body.stream"),
    (openai(audio={"voice": "a"}), "unsupported_parameter", "body.audio"),
    (openai(modalities=["text", "audio"]), "unsupported_parameter", "body.modalities"),
    (openai(service_tier="priority"), "unsupported_parameter", "body.service_tier"),
    (openai(web_search_options={}), "unsupported_parameter", "body.web_search_options"),
    (openai(tools=[{"type": "web_search"}]), "unsupported_parameter", "body.tools[0].type"),
    (openai(n=0), "invalid_value", "body.n"),
    (openai(n=129), "invalid_value", "body.n"),
    (openai(n=True), "invalid_type", "body.n"),
    (openai(messages=None), "missing_required_parameter", "body.messages"),
    (openai(prompt="x"), "prompt_and_messages", "body.prompt"),
    (openai(model="gpt-99"), "model_not_found", "body.model"),
    (openai() | {"url": "/v1/responses"}, "url_mismatch", "url"),
    (openai() | {"url": "/v1/embeddings"}, "unknown_parameter", "body.messages"),
    (openai() | {"method": "GET"}, "invalid_value", "method"),
    (openai() | {"method": None}, "missing_required_parameter", "method"),
    (openai() | {"custom_id": None}, "missing_required_parameter", "custom_id"),
    (openai() | {"body": "x"}, "invalid_type", "body"),
    (openai() | {"prompt": "x"}, "unknown_parameter", "prompt"),
]


@pytest.mark.parametrize(("content", "code", "field"), HOSTILE)
def test_a_hostile_line_is_refused_by_code_and_field(
    content: bytes | dict[str, Any], code: str, field: str | None
):
    line = one(content)
    assert isinstance(line, RejectedLine)
    assert (line.line, line.code, line.field) == (1, code, field)
    assert line.message


@pytest.mark.parametrize(("content", "code", "field"), HOSTILE)
def test_a_hostile_line_does_not_cost_its_neighbours(
    content: bytes | dict[str, Any], code: str, field: str | None
):
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    good = b'{"prompt": "a", "custom_id": "first"}', b'{"prompt": "b", "custom_id": "last"}'
    lines = read(b"\r\n".join((good[0], raw, good[1])))
    assert [type(line) for line in lines] == [ValidLine, RejectedLine, ValidLine]
    assert [line.line for line in lines] == [1, 2, 3]


def test_a_native_line_becomes_a_request():
    request = request_of(
        {
            "prompt": "hi",
            "model": "cheap",
            "max_tokens": 5,
            "max_completion_tokens": 7,
            "temperature": 0,
            "response_format": {"type": "json_object"},
            "preferences": {"cost": 1},
            "constraints": {
                "max_cost_usd": 0.1,
                "max_latency_s": 3,
                "allowed_models": ["org/model:1"],
                "min_tier": "mid",
            },
            "metadata": {"k": "v"},
            "stop": None,
        }
    )
    assert request.messages == ({"role": "user", "content": "hi"},)
    assert (request.model, request.max_tokens, request.temperature) == ("cheap", 7, 0)
    assert request.preferences == Preferences(cost=1, latency=0, quality=0)
    assert request.constraints.max_cost_nusd == 100_000_000
    assert request.constraints.allowed_models == ("org/model:1",)
    assert request.constraints.min_tier is Tier.MID
    assert request.extras == {}
    assert Request.from_json(request.to_json()) == request


def test_an_openai_line_keeps_fields_we_do_not_know_for_the_provider():
    request = request_of(openai(top_k=5, stream=False, tools=[{"type": "function"}], user=None))
    assert request.extras == {"top_k": 5, "tools": [{"type": "function"}]}


def test_an_assistant_message_that_calls_tools_needs_no_content():
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assistant = {"role": "assistant", "content": None, "tool_calls": calls}
    assert (
        request_of(messages({"role": "user", "content": "x"}, assistant)).messages[1] == assistant
    )


@pytest.mark.parametrize("word", ["auto", "cheapest", "best", "cheap", "mid", "high", *MODELS])
def test_every_routing_word_and_catalog_name_is_a_model(word: str):
    assert request_of({"prompt": "a", "model": word}).model == word


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert isinstance(one(b'{"prompt": "the text \\\\u0000"}'), ValidLine)


def test_long_digits_within_a_string_are_text():
    assert isinstance(one({"prompt": "pi is 31415926535897932384626433"}), ValidLine)
    assert isinstance(one(b'{"prompt": "a", "metadata": {"n": 18446744073709551615}}'), ValidLine)


def test_brackets_within_a_string_are_no_nesting():
    assert isinstance(one({"prompt": "[" * 100 + '\\"' + "{" * 100}), ValidLine)


def test_many_neighbours_are_no_nesting_and_32_levels_are_allowed():
    assert isinstance(one({"prompt": "a", "metadata": {"k": [[]] * 100}}), ValidLine)
    allowed = b'{"prompt": "a", "metadata": {"k":' + b"[" * 30 + b"]" * 30 + b"}}"
    beyond = b'{"prompt": "a", "metadata": {"k":' + b"[" * 31 + b"]" * 31 + b"}}"
    assert isinstance(one(allowed), ValidLine)
    assert one(beyond).code == "nested_too_deeply"


def test_a_fields_name_may_stand_in_a_value():
    assert isinstance(one(b'{"prompt": "a", "metadata": {"note": "prompt"}}'), ValidLine)


def test_a_misspelt_field_is_refused_with_the_nearest_name():
    assert "'temperature'" in one({"prompt": "a", "temprature": 1}).message
    assert "gpt-5.6-luna" in one({"prompt": "a", "model": "gpt-5.6-lunar"}).message


def test_bom_crlf_blank_lines_and_a_missing_last_newline_are_fine():
    lines = read(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n  \t\n\n{"prompt": "b"}')
    assert [(type(line), line.line) for line in lines] == [(ValidLine, 1), (ValidLine, 5)]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n\t\n"])
def test_an_empty_file_has_no_lines(content: bytes):
    assert read(content) == []


def test_the_second_of_two_equal_custom_ids_is_refused():
    first, second = read(b'{"custom_id": "a", "prompt": "x"}\n{"custom_id": "a", "prompt": "y"}')
    assert isinstance(first, ValidLine)
    assert (second.code, second.custom_id, second.field) == (
        "duplicate_custom_id",
        "a",
        "custom_id",
    )


def test_a_refused_line_does_not_take_its_custom_id_away_from_a_good_one():
    first, second = read(b'{"custom_id": "a"}\n{"custom_id": "a", "prompt": "y"}')
    assert (first.code, first.custom_id) == ("missing_required_parameter", "a")
    assert isinstance(second, ValidLine)


def test_a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_not():
    limits = IntakeLimits(max_line_bytes=1024)
    frame = len(orjson.dumps({"prompt": ""}))
    fits = orjson.dumps({"prompt": "x" * (1024 - frame)})
    over = orjson.dumps({"prompt": "x" * (1025 - frame)})
    lines = read(b"\r\n".join((fits, over, fits)), limits)
    assert [getattr(line, "code", "ok") for line in lines] == ["ok", "line_too_long", "ok"]


def test_an_endless_line_is_skipped_without_being_held():
    def pieces():
        yield b'{"prompt": "a"}\n'
        for _ in range(2000):
            yield b"x" * 65536  # 131 MB in one line
        yield b'\n{"prompt": "b"}'

    tracemalloc.start()
    lines = read(pieces())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(line) for line in lines] == [ValidLine, RejectedLine, ValidLine]
    assert peak < 4 * 1024 * 1024


def test_messages_never_quote_the_prompt():
    secret = "the-secret-words"
    hostile = [
        {"prompt": secret, "temperature": 9},
        {"messages": [{"role": secret, "content": secret}]},
        {"prompt": secret, "response_format": {"type": secret}},
    ]
    for raw in hostile:
        assert secret not in str(one(raw))
    assert secret not in str(one(b'{"prompt": "the-secret-words'))


def test_first_lines_are_known_beyond_what_memory_holds():
    with FirstLines(in_memory=10) as seen:
        digests = [i.to_bytes(16, "big") for i in range(1000)]
        assert all(seen.first(digest, i) == i for i, digest in enumerate(digests, 1))
        assert all(seen.first(digest, 5000) == i for i, digest in enumerate(digests, 1))
        assert seen.first(b"another one, new", 5000) == 5000


@given(st.lists(st.integers(0, 300), max_size=600), st.integers(1, 40))
def test_first_lines_are_those_of_a_table_however_little_memory_holds(
    things: list[int], in_memory: int
):
    table: dict[int, int] = {}
    with FirstLines(in_memory) as seen:
        for line, thing in enumerate(things, 1):
            # Alike in most bytes, so that records, fences and marks come close to each other.
            digest = bytes([thing % 3]) * 8 + bytes([thing & 1]) * 6 + thing.to_bytes(2, "big")
            assert seen.first(digest, line) == table.setdefault(thing, line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KNOWN_FIELDS = [
    "prompt", "messages", "custom_id", "model", "max_tokens", "temperature", "response_format",
    "preferences", "constraints", "metadata", "fallback_models", "preferred_models",
    "body", "url", "method", "n",
    "tools", "stop", "stream", "modalities", "service_tier",
]  # fmt: skip


def physical(content: bytes) -> list[int]:
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [number for number, line in enumerate(lines, 1) if line.strip(b" \t\r\n")]


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"\r\n", b"{", b'{"prompt":"a"}']))
)
def test_any_bytes_give_each_line_that_is_not_blank_exactly_one_outcome(pieces: list[bytes]):
    content = b"".join(pieces)
    lines = read(pieces)
    assert [line.line for line in lines] == physical(content)
    assert lines == read(content)


@given(st.dictionaries(st.sampled_from(KNOWN_FIELDS), json_values, max_size=6))
def test_any_json_in_known_fields_is_a_request_that_can_be_stored_or_a_refusal(raw: dict[str, Any]):
    line = one(json.dumps(raw).encode())
    if isinstance(line, ValidLine):
        assert Request.from_json(line.request.to_json()) == line.request


@given(st.dictionaries(st.sampled_from(KNOWN_FIELDS), json_values, max_size=6))
def test_any_json_in_an_openai_body_is_a_request_or_a_refusal(body: dict[str, Any]):
    raw = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    line = one(json.dumps(raw).encode())
    assert line.custom_id == "a" or line.code in (
        "invalid_json_line",
        "nul_character",
        "invalid_encoding",
        "invalid_value",
    )
