"""Bodies of requests for embeddings: what is taken, and why others are refused."""

from typing import Any

import orjson
import pytest

from producer.intake import IntakeLimits, RejectedLine, ValidLine, read_lines
from shared.domain.batch import Endpoint
from shared.domain.inference import Request

KNOWN = frozenset({"embedder", "talker"})


def one(body: dict[str, Any], endpoint: Endpoint | None = None) -> ValidLine | RejectedLine:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    (found,) = read_lines([orjson.dumps(line)], IntakeLimits(), KNOWN, endpoint=endpoint)
    return found


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a text", ("a text",)),
        (["a", "b"], ("a", "b")),
        ([5, 6], ([5, 6],)),
        ([[5], [6, 7]], ([5], [6, 7])),
    ],
)
def test_every_kind_of_input_is_read_and_stored(given: Any, inputs: tuple[Any, ...]):
    line = one({"input": given, "model": "embedder", "dimensions": 8, "encoding_format": "base64"})
    assert isinstance(line, ValidLine)
    again = Request.from_json(line.request.to_json())
    assert again == line.request
    assert again.embedded_inputs == inputs
    assert again.embed == {"input": given, "dimensions": 8, "encoding_format": "base64"}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_required_parameter", "body.input"),
        ({"input": ""}, "invalid_value", "body.input"),
        ({"input": []}, "invalid_value", "body.input"),
        ({"input": [[]]}, "invalid_value", "body.input[0]"),
        ({"input": 5}, "invalid_type", "body.input"),
        ({"input": ["a", 5]}, "invalid_type", "body.input[1]"),
        ({"input": [5, "a"]}, "invalid_type", "body.input[1]"),
        ({"input": [-1]}, "invalid_value", "body.input[0]"),
        ({"input": ["a"] * 2049}, "invalid_value", "body.input"),
        ({"input": "a", "dimensions": 0}, "invalid_value", "body.dimensions"),
        ({"input": "a", "dimensions": 1.5}, "invalid_type", "body.dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "invalid_value", "body.encoding_format"),
        ({"input": "a", "model": "nobody"}, "model_not_found", "body.model"),
        ({"input": "a", "temperature": 0}, "unknown_parameter", "body.temperature"),
        (
            {"input": "a", "fallback_models": ["embedder"]},
            "unknown_parameter",
            "body.fallback_models",
        ),
        ({"input": "a", "preferences": {"cost": 1}}, "unknown_parameter", "body.preferences"),
    ],
)
def test_a_body_that_means_nothing_is_refused_by_field(body: dict[str, Any], code: str, field: str):
    line = one(body)
    assert isinstance(line, RejectedLine)
    assert (line.code, line.field) == (code, field)


def test_a_batch_for_one_endpoint_takes_no_line_for_another():
    line = one({"input": "a"}, Endpoint.CHAT)
    assert isinstance(line, RejectedLine)
    assert (line.code, line.field) == ("url_mismatch", "url")
    assert isinstance(one({"input": "a"}, Endpoint.EMBEDDINGS), ValidLine)
