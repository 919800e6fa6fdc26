"""Real answers of each wire, whole and streamed, broken in every way we could think of: what comes
out is an answer or one of the room's own errors, and money is never negative, broken or less than
what the provider says it did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import Price, Rates, WireName
from shared.domain.inference import Completion, FinishReason, Usage
from tests.unit.providers.answers import (
    anthropic_answer,
    cohere_answer,
    gemini_answer,
    openai_answer,
)
from worker.providers.errors import MAX_MESSAGE, HungUp, MaybeBilled, ProviderError, Unavailable
from worker.providers.hearing import Hearing
from worker.providers.registry import STREAMS, WIRES

PRICE = Price(
    Rates(Fraction("0.2"), Fraction("1.2"), Fraction("0.02"), Fraction("0.25"), Fraction(1))
)
BOUNDS = Usage(input_tokens=1000, output_tokens=100)
STRANGE: Sequence[bytes] = (
    b"null", b"true", b"false", b"0", b"-1", b"1.5", b"-0.0", b"1e999", b"-1e308", b"NaN",
    b"Infinity", b"9" * 40, b"-9223372036854775809", b"500000000", b"500000001", b'""', b'"x"',
    b'"\\u0000"', b'"\\ud83d"', b'"9"', b"[]", b"{}", b"[[]]", b"[null]", b'[{"type":"text"}]',
    b'{"text":1}', b"[" * 200 + b"]" * 200, b'{"a":' * 90 + b"1" + b"}" * 90, b'"stop"', b'"STOP"',
)  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """A wire, a whole answer of it, and the same answer as a stream of events."""

    name: WireName
    answer: Any
    events: Sequence[tuple[str, Any]]
    said: Callable[[Any], tuple[Any, Any]]
    """Input and output tokens in an answer, as they stand there."""

    def __str__(self) -> str:
        return self.name.value


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice]}


_CALL = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a":1}'}}
DIALECTS = [
    Dialect(
        WireName.OPENAI,
        openai_answer(prompt_tokens_details={"cached_tokens": 3}),
        [
            ("", _chunk({"role": "assistant", "content": "Hel"})),
            ("", _chunk({"content": "lo", "tool_calls": [_CALL]})),
            ("", _chunk({}, "stop")),
            ("", {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}),
            ("", "[DONE]"),
        ],
        lambda a: (a["usage"]["prompt_tokens"], a["usage"]["completion_tokens"]),
    ),
    Dialect(
        WireName.ANTHROPIC,
        anthropic_answer(cache_read_input_tokens=3, cache_creation_input_tokens=4),
        [
            (
                "message_start",
                {
                    "type": "message_start",
                    "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
                },
            ),
            (
                "content_block_start",
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "text", "text": ""},
                },
            ),
            (
                "content_block_delta",
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": "Hello"},
                },
            ),
            ("content_block_stop", {"type": "content_block_stop", "index": 0}),
            (
                "message_delta",
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 2},
                },
            ),
            ("message_stop", {"type": "message_stop"}),
        ],
        lambda a: (a["usage"]["input_tokens"], a["usage"]["output_tokens"]),
    ),
    Dialect(
        WireName.GEMINI,
        gemini_answer(cachedContentTokenCount=3, thoughtsTokenCount=1),
        [
            ("", {"candidates": [{"content": {"parts": [{"text": "Hel"}]}, "index": 0}]}),
            ("", gemini_answer("lo")),
        ],
        lambda a: (
            a["usageMetadata"]["promptTokenCount"],
            a["usageMetadata"]["candidatesTokenCount"],
        ),
    ),
    Dialect(
        WireName.COHERE,
        cohere_answer(),
        [
            ("message-start", {"type": "message-start", "id": "c"}),
            (
                "content-delta",
                {
                    "type": "content-delta",
                    "index": 0,
                    "delta": {"message": {"content": {"text": "Hello"}}},
                },
            ),
            (
                "message-end",
                {
                    "type": "message-end",
                    "delta": {
                        "finish_reason": "COMPLETE",
                        "usage": {"billed_units": {"input_tokens": 9, "output_tokens": 2}},
                    },
                },
            ),
        ],
        lambda a: (
            a["usage"]["billed_units"]["input_tokens"],
            a["usage"]["billed_units"]["output_tokens"],
        ),
    ),
]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=str)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    found = [(*path, key) for key, _ in items]
    inner = (
        (
            places(one, (*path, key))
            for key, one in (value.items() if isinstance(value, dict) else enumerate(value))
        )
        if isinstance(value, dict | list)
        else ()
    )
    return found + [path for part in inner for path in part]


@st.composite
def broken_json(draw: st.DrawFn, value: Any) -> bytes:
    """A value with strange things in some of its places, as text; perhaps a field given twice, a
    piece of it missing, doubled or turned into other bytes.
    """
    made = orjson.loads(orjson.dumps(value))
    marks: dict[str, bytes] = {}
    for number in range(draw(st.integers(0, 3))):
        paths = places(made)
        if not paths:
            break
        *parents, last = draw(st.sampled_from(paths))
        target = made
        for key in parents:
            target = target[key]
        if isinstance(target, dict) and draw(st.integers(0, 9)) == 0:
            del target[last]
            continue
        marks[f"@{number}@"] = draw(st.sampled_from(STRANGE))
        target[last] = f"@{number}@"
    text = orjson.dumps(made)
    for mark, strange in marks.items():
        text = text.replace(orjson.dumps(mark), strange)
    if draw(st.integers(0, 5)) == 0 and text.startswith(b'{"'):
        name = text.split(b":", 1)[0] + b":"
        text = name + draw(st.sampled_from(STRANGE)) + b"," + text[1:]
    if draw(st.integers(0, 5)) == 0:
        start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
        put = draw(st.binary(max_size=8) | st.just(text[start : start + 2 * length]))
        text = text[:start] + put + text[start + length :]
    return text


def check_usage(usage: Usage) -> None:
    counts = [getattr(usage, one.name) for one in fields(usage)]
    assert all(type(count) is int and 0 <= count < 2**31 for count in counts), usage
    assert usage.total_input_tokens < 2**31
    assert usage.reasoning_tokens <= usage.output_tokens
    cost = cost_nusd(PRICE, usage)
    assert type(cost) is int
    assert cost >= 0


def check_answer(completion: Completion) -> None:
    check_usage(completion.usage)
    assert isinstance(completion.text, str)
    assert isinstance(completion.finish_reason, FinishReason)
    completion.text.encode()
    orjson.dumps(completion.body)


def check_error(error: ProviderError) -> None:
    assert isinstance(error, MaybeBilled | Unavailable)
    assert len(error.message) <= MAX_MESSAGE
    if error.billed is not None:
        check_usage(error.billed)


@every_dialect
@given(data=st.data())
def test_a_broken_answer_is_an_answer_or_one_of_our_errors(dialect: Dialect, data: st.DataObject):
    body = data.draw(broken_json(dialect.answer))
    try:
        completion = WIRES[dialect.name].decode(body)
    except ProviderError as error:
        check_error(error)
        return
    check_answer(completion)
    if completion.body["usage"] is None:
        return  # all that was reserved is charged
    told, written = _said(dialect, body)
    assert completion.usage.total_input_tokens >= told
    assert completion.usage.output_tokens >= written


def _said(dialect: Dialect, body: bytes) -> tuple[int, int]:
    """What the answer says of its tokens, where it says whole numbers."""
    try:
        counts = dialect.said(orjson.loads(body))
    except (ValueError, LookupError, TypeError):
        return 0, 0
    told, written = (count if type(count) in (int, float) else 0 for count in counts)
    return told, written


class Ear:
    """A listener that writes on what it hears, as the API does."""

    def say(self, choices: Any) -> None:
        orjson.dumps(choices)

    async def until_gone(self) -> None:
        raise AssertionError("nobody waits for it here")


@every_dialect
@given(data=st.data())
def test_a_broken_stream_is_an_answer_or_one_of_our_errors(dialect: Dialect, data: st.DataObject):
    order = data.draw(st.permutations(range(len(dialect.events))) | st.none())
    parts = []
    for place in order or range(len(dialect.events)):
        name, event = dialect.events[place]
        text = event.encode() if isinstance(event, str) else data.draw(broken_json(event))
        head = f"event: {name}\n".encode() if name else b""
        parts.append(head + b"data: " + text.replace(b"\n", b" ") + b"\n\n")
    content = b"".join(parts * data.draw(st.integers(1, 2)))
    cut = data.draw(st.integers(0, len(content)))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    hearing = Hearing(STREAMS[dialect.name](), Ear(), BOUNDS)
    try:
        hearing.take(content[:cut])
        hearing.take(content[cut : max(cut, end)])
        completion = hearing.decoder.completion()
    except ProviderError as error:
        check_error(error)
        used = hearing._used()
        if used is not None:  # what is charged where the listener left at this moment
            check_usage(used)
        check_error(HungUp("client_gone", "gone", billed=used))
        return
    check_answer(completion)


@pytest.mark.parametrize("place", [-1, 10**18, 1e40])
@pytest.mark.parametrize(
    "event",
    [
        _chunk({"content": "x"}) | {"choices": [{"index": "@", "delta": {"content": "x"}}]},
        _chunk({"tool_calls": [{**_CALL, "index": "@"}]}),
    ],
)
def test_an_impossible_place_in_a_stream_is_garbage(event: dict[str, Any], place: float):
    hearing = Hearing(STREAMS[WireName.OPENAI](), Ear(), BOUNDS)
    text = orjson.dumps(event).replace(b'"@"', orjson.dumps(place))
    with pytest.raises(MaybeBilled, match="garbage"):
        hearing.take(b"data: " + text + b"\n\n")


@every_dialect
def test_the_unbroken_ones_are_read(dialect: Dialect):
    hearing = Hearing(STREAMS[dialect.name](), Ear(), BOUNDS)
    for name, event in dialect.events:
        text = event.encode() if isinstance(event, str) else orjson.dumps(event)
        hearing.take(f"event: {name}\ndata: ".encode() + text + b"\n\n")
    streamed = hearing.decoder.completion()
    whole = WIRES[dialect.name].decode(orjson.dumps(dialect.answer))
    assert (streamed.text, whole.text) == ("Hello", "hi")
    for completion in (streamed, whole):
        assert completion.usage.total_input_tokens >= 9
        assert completion.usage.output_tokens >= 2
