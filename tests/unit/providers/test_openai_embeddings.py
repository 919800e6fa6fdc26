"""The answers of embeddings endpoints: in the order of the inputs, or garbage."""

from typing import Any

import orjson
import pytest

from worker.providers.errors import MaybeBilled
from worker.providers.openai_chat import OpenAIChat

USAGE = {"prompt_tokens": 3, "total_tokens": 3}


def answer(*vectors: Any, **more: Any) -> bytes:
    return orjson.dumps({"object": "list", "data": list(vectors), "model": "m", **more})


def test_vectors_come_in_the_order_of_the_inputs_whatever_their_form():
    told = answer({"index": 1, "embedding": "AAAA"}, {"index": 0, "embedding": [0.5]}, usage=USAGE)
    completion = OpenAIChat().decode(told)
    assert [each["embedding"] for each in completion.body["data"]] == [[0.5], "AAAA"]
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (3, 0)
    assert completion.body["usage"] == USAGE


def test_a_host_that_tells_no_usage_and_no_index_is_understood():
    completion = OpenAIChat().decode(answer({"embedding": [1]}, {"embedding": [2]}))
    assert [each["index"] for each in completion.body["data"]] == [0, 1]
    assert completion.body["usage"] is None


@pytest.mark.parametrize(
    "body",
    [
        answer(),
        answer({"embedding": []}),
        answer({"embedding": ["x"]}),
        answer({"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}),
        answer({"index": 5, "embedding": [1]}),
        answer("x"),
    ],
)
def test_what_holds_no_vectors_may_have_been_billed(body: bytes):
    with pytest.raises(MaybeBilled):
        OpenAIChat().decode(body)
