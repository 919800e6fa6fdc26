"""What an answer on the OpenAI wire says by plain checks is what its form says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.providers.completions import read_answer, read_usage
from worker.providers.openai_chat import (
    _Answer,
    _counts,
    _plain_counts,
    _said,
    _Usage,
    _usual,
)

_NUMBERS = st.sampled_from((0, 1, 7, 500_000_000))
_DETAILS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens"), _NUMBERS)
)
_USAGE = st.fixed_dictionaries(
    {"prompt_tokens": _NUMBERS},
    optional={
        "completion_tokens": _NUMBERS,
        "total_tokens": _NUMBERS,
        "prompt_cache_hit_tokens": _NUMBERS,
        "reasoning_tokens": _NUMBERS,
        "prompt_tokens_details": st.none() | _DETAILS,
        "completion_tokens_details": st.none()
        | st.fixed_dictionaries({}, optional={"reasoning_tokens": _NUMBERS}),
        "queue_time": st.floats(0, 1),
    },
)
_ODD = st.sampled_from((-1, 1.5, True, "9", "", [], {}, 500_000_001))


@given(_USAGE)
def test_plain_numbers_are_read_as_the_form_reads_them(raw: dict[str, Any]) -> None:
    assert _plain_counts(raw) == _counts(read_usage(_Usage, raw))


@given(_USAGE, st.sampled_from(("prompt_tokens", "completion_tokens", "total_tokens")), _ODD)
def test_what_is_no_plain_number_is_left_to_the_form(
    raw: dict[str, Any], name: str, odd: Any
) -> None:
    assert _plain_counts({**raw, name: odd}) is None


@given(st.text(), st.sampled_from(("stop", "length", "odd")))
def test_one_choice_with_a_text_is_read_as_the_form_reads_it(text: str, reason: str) -> None:
    message = {"role": "assistant", "content": text, "refusal": None}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    usual = _usual(answer)
    assert usual is not None
    expected = _said(read_answer(_Answer, answer, None, "no answer"))
    assert (usual.text, usual.refusal, list(usual.ends)) == (*expected[:2], list(expected.ends))


@given(st.sampled_from(("refusal", "tool_calls", "content", "finish_reason")), _ODD)
def test_what_is_no_single_text_is_left_to_the_form(name: str, odd: Any) -> None:
    message: dict[str, Any] = {"content": "yes"}
    choice: dict[str, Any] = {"message": message, "finish_reason": "stop"}
    (choice if name == "finish_reason" else message)[name] = [odd]
    assert _usual({"choices": [choice]}) is None
    assert _usual({"choices": [choice, choice]}) is None
