"""Weak answers are found, good ones are left alone, and nothing a model says breaks the judge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.judging import judge
from shared.domain.decisions import Verdict
from shared.domain.inference import Completion, FinishReason, Request, TaskType, Usage

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["city", "age"],
    "additionalProperties": False,
}


def schema_format(schema: object = SCHEMA) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}


def judged(
    text: str,
    task_type: TaskType = TaskType.SIMPLE_QA,
    *,
    finish: FinishReason = FinishReason.STOP,
    response_format: dict[str, Any] | None = None,
    **fields: Any,
) -> Verdict:
    request = Request(messages=({"role": "user", "content": "?"},), response_format=response_format)
    completion = Completion(text, finish, Usage(), fields.pop("body", {}), **fields)
    return judge(request, completion, task_type)


@pytest.mark.parametrize(
    ("text", "task_type"),
    [
        ("42", TaskType.COMPLEX_REASONING),
        ("Ulaanbaatar.", TaskType.SIMPLE_QA),
        ("Yes", TaskType.ANALYSIS),
        ("I'm sorry to hear that. Here is what you can do: call them first.", TaskType.SIMPLE_QA),
        ("Sorry, I can explain: the tide turned.", TaskType.CREATIVE),
        ('"I don\'t know," she said. "I am not sure I ever will."', TaskType.CREATIVE),
        ("I can help you with that. First, open the file.", TaskType.CODING),
        ("```python\nprint('hi')\n```\nand then\n```\n$ run it (\n```", TaskType.CODING),
        ("```python\n>>> 1 +\n```", TaskType.CODING),
        ("```python\n    indented = True\n```", TaskType.CODING),
        ("```python\npattern = '\\d+'\n```", TaskType.CODING),
        ('```json\n{"a": 1, ...}\n```', TaskType.CODING),
        ("```python\nthis is (not code\n```", TaskType.ANALYSIS),
    ],
)
def test_a_good_answer_is_accepted(text: str, task_type: TaskType) -> None:
    verdict = judged(text, task_type)
    assert verdict.accepted, verdict
    assert verdict.score > 0.7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("I'm sorry, but I can't help with that request.", "declines"),
        ("I cannot assist with this.", "declines"),
        ("As an AI language model, I cannot provide an opinion.", "declines"),
        ("Sorry, I am unable to answer that.", "declines"),
        ("Unfortunately, I can't provide that information.", "declines"),
        ("I'm not sure, but I think it could go either way.", "doubts"),
        ("I don't know exactly. Perhaps it is possible.", "doubts"),
        ("It may be Paris. I'm not certain. My best guess is Paris.", "doubts"),
    ],
)
def test_a_weak_answer_is_found(text: str, reason: str) -> None:
    verdict = judged(text)
    assert not verdict.accepted
    assert reason in verdict.reasons[0]
    assert verdict.score < 0.75


def test_one_doubt_in_a_full_answer_is_noted_and_accepted() -> None:
    text = "The bridge was built in 1890 by the city. " * 20 + "I'm not sure about the architect."
    verdict = judged(text)
    assert verdict.accepted
    assert verdict.reasons == ("doubts its own answer",)
    assert verdict.score < 1


def test_what_the_provider_says_about_the_end_counts() -> None:
    assert "truncated" in judged("Once upon", finish=FinishReason.LENGTH).reasons[0]
    assert judged("", finish=FinishReason.CONTENT_FILTER).reasons == ("refused",)
    assert judged("No.", refusal="I will not.").reasons == ("refused",)
    assert not judged("fine", mean_logprob=-2.0).accepted
    assert judged("fine", mean_logprob=-0.4).accepted


def test_a_truncated_answer_is_worth_more_than_a_refused_and_an_empty_one() -> None:
    cut = judged("Half of it", finish=FinishReason.LENGTH).score
    refused = judged("I can't help with that.").score
    empty = judged("").score
    assert cut > refused > empty > 0


@pytest.mark.parametrize("text", ["{", "nothing", '```json\n{"a":1}\n```', "5", '{"a":1} ok'])
def test_json_mode_wants_json_and_nothing_else(text: str) -> None:
    assert not judged(text, response_format={"type": "json_object"}).accepted


def test_json_that_keeps_its_schema_is_accepted_and_other_is_not() -> None:
    kept = judged(' {"city": "Bern", "age": 3} ', response_format=schema_format())
    assert kept.accepted
    for text in ('{"city": "Bern"}', '{"city": 1, "age": 3}', '{"city":"B","age":-1}', "[]"):
        verdict = judged(text, response_format=schema_format())
        assert verdict.reasons == ("violates the JSON schema",), text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "#/nowhere"},
        {"pattern": "("},
        {"type": "object", "properties": 5},
        "not a schema",
        None,
        [],
    ],
)
def test_a_schema_that_is_none_binds_nothing_and_fetches_nothing(schema: object) -> None:
    assert judged('{"a": 1}', response_format=schema_format(schema)).accepted


def test_a_pattern_made_to_explode_is_harmless() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    answer = '{"a": "' + "a" * 5_000 + '!"}'
    assert not judged(answer, response_format=schema_format(schema)).accepted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```python\ndef f(:\n    pass\n```", "Python code"),
        ("Here:\n\n```py\nreturn = 5\n```\n", "Python code"),
        ('```json\n{"a": }\n```', "JSON block"),
    ],
)
def test_code_that_does_not_parse_is_weak_where_code_was_asked_for(text: str, reason: str) -> None:
    verdict = judged(text, TaskType.CODING)
    assert not verdict.accepted
    assert reason in verdict.reasons[0]


def tool_call(arguments: object) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}}]}


def test_a_tool_call_needs_no_text_and_arguments_that_parse() -> None:
    good = judged("", finish=FinishReason.TOOL_CALLS, body=tool_call('{"x": 1}'))
    assert good.accepted
    for arguments in ("{", "", "5", None, "[]"):
        bad = judged("", finish=FinishReason.TOOL_CALLS, body=tool_call(arguments))
        assert not bad.accepted, arguments


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FRAGMENTS = st.sampled_from(
    ["```python\n", "```", "\n", "{", "}", "[", '"', "I'm sorry", " I can't help", "not sure", "(",
     "def f():", "\x00", "\ud800", "lambda:", "\\", "é", "json", "```json\n"]
)  # fmt: skip
TEXTS = st.lists(FRAGMENTS | st.text(max_size=10), max_size=30).map("".join)


@given(
    TEXTS,
    st.sampled_from(TaskType),
    st.sampled_from(FinishReason),
    st.none() | st.just({"type": "json_object"}) | JSONISH.map(schema_format),
    st.dictionaries(st.sampled_from(["choices", "x"]), JSONISH),
)
def test_the_judge_never_raises(
    text: str,
    task_type: TaskType,
    finish: FinishReason,
    response_format: dict[str, Any] | None,
    body: dict[str, Any],
) -> None:
    verdict = judged(text, task_type, finish=finish, response_format=response_format, body=body)
    assert 0 <= verdict.score <= 1
    assert verdict.accepted or verdict.reasons


@pytest.mark.parametrize(
    "code",
    ["(" * 10_000, "-" * 15_000 + "1", "not " * 4_000 + "x", "[" * 40 + "]" * 40,
     "1+" * 9_000 + "1",
     "x." * 9_000 + "x", "f" + "()" * 9_000, "lambda:" * 2_500 + "1", "a=" * 9_000 + "1",
     "if x:\n" * 200, "\x00", "\ud800", "1" * 10_000, "x" * 1_000_000],
)  # fmt: skip
def test_code_made_to_break_the_parser_does_not(code: str) -> None:
    verdict = judged(f"```python\n{code}\n```", TaskType.CODING)
    assert 0 <= verdict.score <= 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 500_000, '"' * 3_000_000])
def test_json_made_to_break_the_parser_does_not(text: str) -> None:
    assert 0 <= judged(text, response_format=schema_format()).score <= 1
