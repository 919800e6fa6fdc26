"""Lines of the usual shape take a short way: it gives what the whole reading gives, or nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.intake.lines import ROUTING_WORDS, asked_by
from producer.intake.refusal import Refusal
from producer.intake.usual import PlainRequest, plain_request
from shared.domain.batch import Endpoint
from shared.domain.inference import Request
from shared.domain.repetition import fingerprint, may_repeat, plain_fingerprint

MODELS = ("gpt-5.6-luna", "org/model:1")
WORDS = frozenset((*ROUTING_WORDS, *MODELS))
USER = {"role": "user", "content": "hi"}

odd = st.sampled_from([None, "", " ", "x", 0, 1, -1, 1.0, 2.5, True, [], {}, [{}], 10**9, [USER]])
texts = st.text(max_size=8) | st.sampled_from(["a", " ", "\u2028", "né\U0001f600"])
roles = st.sampled_from(["user", "system", "assistant", "tool", "developer", "nobody"]) | odd
message = st.one_of(
    st.fixed_dictionaries({"role": roles, "content": texts | odd}),
    st.fixed_dictionaries({"content": texts, "role": st.just("user")}, optional={"name": texts}),
)
fields: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(message, max_size=3) | odd,
    "model": st.sampled_from(["auto", "cheap", *MODELS, "gpt-99"]) | odd,
    "max_tokens": st.sampled_from([1, 256, 1_000_000, 1_000_001]) | odd,
    "temperature": st.sampled_from([0, 0.0, -0.0, 1, 0.7, 2, 2.0001]) | odd,
}
rare: dict[str, st.SearchStrategy[Any]] = {
    "metadata": st.just({"k": 1}) | odd, "cache": st.booleans() | odd, "n": odd,
    "template": odd, "unheard_of": odd,
}  # fmt: skip
native = st.fixed_dictionaries(
    {}, optional={"prompt": texts | odd, "custom_id": texts | odd, **fields, **rare}
)
openai = st.fixed_dictionaries(
    {
        "custom_id": texts | st.none(),
        "method": st.sampled_from(["POST", "GET"]),
        "url": st.sampled_from([Endpoint.CHAT, "/v1/embeddings"]),
        "body": st.fixed_dictionaries({}, optional={**fields, **rare}) | odd,
    },
    optional={"extra": odd},
)


def the_whole_reading_of(raw: dict[str, Any]) -> Request:
    return asked_by(raw, WORDS, MODELS, lambda line: (line, None))


@settings(deadline=None, max_examples=300)
@given(native | openai)
def test_the_short_way_gives_what_the_whole_reading_gives_or_nothing(raw: dict[str, Any]):
    short = plain_request(raw, WORDS, Endpoint.CHAT)
    if short is None:
        return
    whole = the_whole_reading_of(raw)
    assert short.request() == whole
    assert short.to_json() == whole.to_json()
    assert plain_fingerprint(*short) == fingerprint(whole)
    assert may_repeat(whole) == (not short.temperature)


@settings(deadline=None, max_examples=300)
@given(native | openai)
def test_what_is_refused_never_takes_the_short_way(raw: dict[str, Any]):
    try:
        the_whole_reading_of(raw)
    except Refusal:
        assert plain_request(raw, WORDS, Endpoint.CHAT) is None


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "hi"},
        {"prompt": "hi", "custom_id": "a", "max_tokens": 9, "model": "cheap", "temperature": 0.2},
        {"messages": [USER, {"content": "x", "role": "assistant"}], "model": MODELS[0]},
        {"custom_id": "a", "method": "POST", "url": Endpoint.CHAT,
         "body": {"model": "auto", "messages": [USER], "max_tokens": 9}},
    ],
)  # fmt: skip
def test_plain_lines_take_the_short_way(raw: dict[str, Any]):
    assert isinstance(plain_request(raw, WORDS, Endpoint.CHAT), PlainRequest)


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "hi", "metadata": {"k": 1}},
        {"prompt": "hi", "cache": False},
        {"template": {"prompt": "{{ x }}"}, "vars": {"x": 1}},
        {"prompt": "hi", "max_tokens": True},
        {"prompt": "hi", "model": ["cheap"]},
        {"messages": [{"role": ["user"], "content": "hi"}]},
        {"custom_id": None, "method": "POST", "url": Endpoint.CHAT, "body": {"messages": [USER]}},
        {"prompt": "hi", "temperature": 2.1},
    ],
)
def test_other_lines_do_not(raw: dict[str, Any]):
    assert plain_request(raw, WORDS, Endpoint.CHAT) is None
