"""Whatever bytes a provider sends, only the room's own errors come out."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.spec import WireName
from shared.domain.inference import Completion
from worker.providers.base import Wire
from worker.providers.errors import MaybeBilled, ProviderError, Unavailable
from worker.providers.registry import WIRES

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NAMES = [
    "id", "choices", "message", "content", "finish_reason", "usage", "prompt_tokens", "error",
    "completion_tokens", "type", "text", "stop_reason", "candidates", "parts", "finishReason",
    "usageMetadata", "promptTokenCount", "promptFeedback", "billed_units", "input_tokens",
    "output_tokens", "code", "details", "violations", "status", "detail", "loc", "logprobs",
    "logprob", "tool_calls", "function", "cache_creation", "functionCall", "args",
]  # fmt: skip
WORDS = ["stop", "STOP", "end_turn", "COMPLETE", "ERROR", "length", "text", "tool_use", "", "x"]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.sampled_from(WORDS)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=25,
)
BODIES = st.one_of(st.binary(max_size=200), JSON.map(orjson.dumps))
every_wire = pytest.mark.parametrize("wire", list(WIRES.values()), ids=list(WIRES))


@every_wire
@given(body=BODIES)
def test_any_body_is_an_answer_or_a_known_error(wire: Wire, body: bytes):
    try:
        completion = wire.decode(body)
    except (MaybeBilled, Unavailable):
        return
    assert isinstance(completion, Completion)
    assert completion.usage.output_tokens >= completion.usage.reasoning_tokens >= 0
    assert completion.usage.input_tokens >= 0
    orjson.dumps(completion.body)


@every_wire
@given(
    status=st.integers(300, 599),
    body=BODIES,
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "x-ratelimit-reset", "x-request-id"]), st.text()
    ),
)
def test_any_error_answer_is_classified(
    wire: Wire, status: int, body: bytes, headers: dict[str, str]
):
    error = wire.classify_error(status, headers, body, NOW)
    assert isinstance(error, ProviderError)
    assert len(error.message) <= 300


@every_wire
def test_bottomless_nesting_is_garbage(wire: Wire):
    with pytest.raises(MaybeBilled, match="garbage"):
        wire.decode(b"[" * 200_000)
    assert isinstance(wire.classify_error(500, {}, b'{"a":' * 50_000, NOW), Unavailable)


def test_an_answer_with_a_broken_character_is_not_lost():
    body = (
        rb'{"choices":[{"message":{"content":"a\ud83d"},"finish_reason":"stop"}],'
        rb'"usage":{"prompt_tokens":1,"completion_tokens":1},"x":NaN}'
    )
    assert WIRES[WireName.OPENAI].decode(body).text == "a?"
