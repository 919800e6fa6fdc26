"""Bodies that are read field by field instead of by pydantic: their JSON schemas, with examples."""

from typing import Any, Final

from producer.api.shapes.basics import USD_SCHEMA
from producer.files import LONGEST_S, SHORTEST_S
from producer.intake.fields import FORMAT_TYPES, MAX_CHOICES, MAX_TOKENS
from producer.intake.messages import ROLES
from producer.options import DEFAULT_WINDOW, QUALITY
from shared.domain.batch import Endpoint, Priority
from shared.domain.inference import Tier

Schema = dict[str, Any]

JSONL_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_SCHEMA: Final = "json_schema"
_PROMPT: Final = {"role": "user", "content": "What is the capital of France?"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _number(least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most}


def _closed(properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, **more}


_TEXT: Final[Schema] = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "text"],
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
            },
        },
    ]
}
_MESSAGES: Final[Schema] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string", "enum": list(ROLES)}, "content": _TEXT},
        "description": "An assistant's message with tool_calls may have no content.",
    },
    "examples": [[_PROMPT]],
}
_NAMES: Final[Schema] = {"type": "array", "minItems": 1, "items": {"type": "string"}}
_WEIGHT: Final[Schema] = _or_null(_number(0, 1e9))
PREFERENCES: Final[Schema] = {
    **_closed({"cost": _WEIGHT, "latency": _WEIGHT, "quality": _WEIGHT}),
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "number", "exclusiveMinimum": 0}}}
        for name in ("cost", "latency", "quality")
    ],
    "description": "Weights; one that is not named counts nothing.",
    "examples": [{"cost": 1, "quality": 2}],
}
CONSTRAINTS: Final[Schema] = _closed(
    {
        "max_cost_usd": _or_null(USD_SCHEMA),
        "max_latency_s": _or_null({"type": "number", "exclusiveMinimum": 0, "maximum": 1e6}),
        "allowed_models": _or_null(_NAMES),
        "min_tier": _or_null({"type": "string", "enum": [tier.value for tier in Tier]}),
    },
    description="What the route must keep.",
)
_FORMAT: Final[Schema] = {
    "type": "object",
    "required": ["type"],
    "oneOf": [
        {
            "properties": {
                "type": {"enum": [each for each in FORMAT_TYPES if each != "json_schema"]}
            }
        },
        {
            "required": ["json_schema"],
            "properties": {
                "type": {"const": _SCHEMA},
                "json_schema": {
                    "type": "object",
                    "required": ["schema"],
                    "properties": {"schema": {"type": "object"}},
                },
            },
        },
    ],
    "examples": [{"type": "json_object"}],
}
_TOOLS: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["function", "custom"]}},
    },
}
_REQUEST: Final[Schema] = {
    "max_tokens": _or_null(_whole(1, MAX_TOKENS)),
    "max_completion_tokens": _or_null(_whole(1, MAX_TOKENS)),
    "temperature": _or_null(_number(0, 2)),
    "top_p": _or_null(_number(0, 1)),
    "presence_penalty": _or_null(_number(-2, 2)),
    "frequency_penalty": _or_null(_number(-2, 2)),
    "n": _or_null(_whole(1, MAX_CHOICES)),
    "seed": _or_null(_whole(-(2**63), 2**63 - 1)),
    "logprobs": _or_null({"type": "boolean"}),
    "top_logprobs": _or_null(_whole(0, 20)),
    "stop": _or_null(
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ),
    "response_format": _or_null(_FORMAT),
    "tools": _or_null(_TOOLS),
    "tool_choice": _or_null({"oneOf": [{"type": "string"}, {"type": "object"}]}),
    "preferences": _or_null(PREFERENCES),
    "constraints": _or_null(CONSTRAINTS),
    "metadata": _or_null({"type": "object"}),
}
_MODEL: Final[Schema] = {
    "type": "string",
    "default": "auto",
    "description": "auto, cheapest, best, a tier, or a model of the catalog.",
}
_FALLBACKS: Final[Schema] = {"type": "array", "maxItems": 16, "items": {"type": "string"}}

CHAT: Final[Schema] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": True,
    "properties": {
        "model": _or_null(_MODEL),
        "messages": _MESSAGES,
        "stream": _or_null({"type": "boolean"}),
        "stream_options": _or_null({"type": "object", "description": "With stream: true only."}),
        "fallback_models": _or_null(_FALLBACKS),
        "preferred_models": _or_null(_FALLBACKS),
        "max_cost_usd": _or_null(USD_SCHEMA),
        "project": _or_null({"type": "string", "description": "For the admin key."}),
        **_REQUEST,
    },
    "examples": [{"model": "auto", "messages": [_PROMPT], "max_tokens": 100}],
}
"""A chat completion; what is not named here passes to the provider."""

COMPARISON: Final[Schema] = {
    "type": "object",
    "required": ["models"],
    "additionalProperties": True,
    "properties": {
        "models": {**_NAMES, "maxItems": 16},
        "prompt": _or_null({"type": "string", "description": "Instead of messages."}),
        "messages": _or_null(_MESSAGES),
        "max_cost_usd": _or_null(USD_SCHEMA),
        "project": _or_null({"type": "string", "description": "For the admin key."}),
        **_REQUEST,
    },
    "examples": [{"models": ["cheap", "high"], "prompt": _PROMPT["content"]}],
}
"""Fields of a chat completion, with `models`; a prompt may stand for the messages."""

EMBEDDINGS: Final[Schema] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": _or_null(_MODEL),
        "input": {
            "oneOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "minItems": 1, "items": {}},
            ],
            "examples": [["What is the capital of France?", "Who was Ada Lovelace?"]],
        },
        "dimensions": _or_null({"type": "integer", "minimum": 1}),
        "encoding_format": _or_null({"enum": ["float", "base64"]}),
        "max_cost_usd": _or_null(USD_SCHEMA),
        "constraints": _or_null(CONSTRAINTS),
        "metadata": _or_null({"type": "object"}),
        "cache": _or_null({"type": "boolean"}),
        "user": _or_null({"type": "string"}),
    },
    "examples": [{"model": "auto", "input": ["Who was Ada Lovelace?"]}],
}
"""Texts whose vectors are wanted."""

LINE: Final[Schema] = {
    "type": "object",
    "examples": [
        {"prompt": _PROMPT["content"], "custom_id": "1", "model": "auto"},
        {
            "custom_id": "2",
            "method": "POST",
            "url": Endpoint.CHAT.value,
            "body": {"model": "auto", "messages": [_PROMPT]},
        },
    ],
    "description": "A native line (prompt or messages), or a line of OpenAI's batches.",
}
"""A line of a submitted file."""

BATCH_OF_FILE: Final[Schema] = _closed(
    {
        "input_file_id": {"type": "string"},
        "endpoint": {"type": "string", "enum": [each.value for each in Endpoint]},
        "completion_window": {
            "type": "string",
            "pattern": "^[1-9][0-9]{0,8}[smhd]$",
            "description": "24h, or <n>s|m|h|d from 60s to 30d.",
            "examples": [DEFAULT_WINDOW],
        },
        "metadata": _or_null(
            {
                "type": "object",
                "maxProperties": 16,
                "propertyNames": {"maxLength": 64},
                "additionalProperties": {"type": "string", "maxLength": 512},
            }
        ),
        "output_expires_after": _or_null(
            {
                "type": "object",
                "required": ["anchor", "seconds"],
                "properties": {
                    "anchor": {"const": "created_at"},
                    "seconds": _whole(SHORTEST_S, LONGEST_S),
                },
            }
        ),
        "max_cost_usd": _or_null(USD_SCHEMA),
        "preferences": _or_null(PREFERENCES),
        "constraints": _or_null(CONSTRAINTS),
        "webhook_url": _or_null({"type": "string", "maxLength": 2048}),
        "priority": _or_null({"type": "string", "enum": [each.value for each in Priority]}),
        "deduplicate": _or_null({"type": "boolean"}),
        "optimise": _or_null(
            {"type": "string", "enum": [QUALITY], "description": "With max_cost_usd only."}
        ),
        "pilot": _or_null({"type": "boolean"}),
        "max_quality_loss": _or_null(_number(0.001, 0.5)),
        "partial": _or_null({"type": "boolean"}),
        "name": _or_null({"type": "string", "maxLength": 255}),
        "project": _or_null({"type": "string", "description": "For the admin key."}),
    },
    required=["input_file_id", "endpoint", "completion_window"],
    examples=[
        {
            "input_file_id": "file-01a1fc792bb475bc9654f76f",
            "endpoint": Endpoint.CHAT.value,
            "completion_window": DEFAULT_WINDOW,
        }
    ],
)
"""A batch of an uploaded file: OpenAI's fields and ours."""

_JSONL: Final[Schema] = {
    "type": "string",
    "description": "One JSON object a line, native or OpenAI's.",
    "examples": ['{"prompt": "What is the capital of France?", "custom_id": "1"}\n'],
}


def body_of(contents: Schema) -> Schema:
    """The `openapi_extra` of an endpoint whose body is one of these media types."""
    content = {kind: {"schema": schema} for kind, schema in contents.items()}
    return {"requestBody": {"required": True, "content": content}}


JSONL_BODY: Final[Schema] = dict.fromkeys(JSONL_TYPES, _JSONL)
"""A JSONL file as the body, by its media types."""
