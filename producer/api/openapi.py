"""The OpenAPI page made whole: what FastAPI cannot know of our errors, headers and examples.

FastAPI announces its own 422, which never leaves this API (bad input is a 400 in OpenAI's shape),
and knows nothing of what the frame around all requests adds.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from producer.api.answers import error_type
from producer.api.shapes.basics import Failure

_BODY: Final = ("post", "put", "patch")
_DEEPEST: Final = 12
_TELLING: Final[Mapping[int, tuple[str, str, str]]] = {
    # status: description, code, message of the example
    400: ("The request is wrong as it stands.", "invalid_value", "limit: must be at most 100"),
    401: ("The key is missing, unknown, revoked or expired.", "invalid_api_key", "unknown key"),
    402: ("The budget or a cap refuses it.", "budget_exceeded", "total:acme is used up"),
    403: ("The key lacks the scope.", "insufficient_scope", "this key lacks the scope 'submit'"),
    404: ("There is no such thing in this project.", "not_found", "there is no such thing"),
    409: ("Its state does not allow it, or the key was used before.", "conflict", "it has ended"),
    413: ("The body is too large.", "request_too_large", "the body is too large for this path"),
    415: ("The body's media type is another.", "unsupported_media_type", "send JSONL or JSON"),
    429: ("Too many requests a minute.", "rate_limit_exceeded", "try again in 12 s"),
    500: ("A fault of ours; it was logged.", "internal", "something went wrong here"),
    502: ("The call may have been paid for, and has no answer.", "stream_cut", "the call was cut"),
    503: ("A part does not answer: try again.", "unavailable", "the database does not answer"),
    504: ("The answer did not come in time.", "request_timeout", "called off after 600 s"),
}
_REQUEST_ID: Final[dict[str, Any]] = {
    "description": "The request's id, for logs; the client's own where it sent a usable one.",
    "required": True,
    "schema": {"type": "string"},
}
_PLAIN: Final[Mapping[str, Any]] = {
    "string": "text", "integer": 1, "number": 0.5, "boolean": False, "null": None, "object": {},
}  # fmt: skip


def _error(status: int) -> dict[str, Any]:
    description, code, message = _TELLING[status]
    error = {"message": message, "type": error_type(status), "param": None, "code": code}
    return {
        "model": Failure,
        "description": description,
        "content": {"application/json": {"example": {"error": error}}},
    }


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may answer with these errors."""
    return {status: _error(status) for status in statuses}


ALWAYS: Final = errors(400, 401, 403, 404, 429, 500, 503)
"""What every endpoint that asks for a key may answer: any may name a project that is not there."""


def passed_on() -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that hands on what a provider says of the request."""
    told = {"model": Failure, "description": "The provider refused the request."}
    return {**errors(402, 409, 502, 504), "4XX": told}


def describe(app: FastAPI) -> None:
    """Give the app its page; it is made at its first reading."""

    def page() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            app.openapi_schema = _completed(made)
        return app.openapi_schema

    app.openapi = page  # type: ignore[method-assign]


def _completed(page: dict[str, Any]) -> dict[str, Any]:
    shapes = page["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        shapes.pop(unused, None)
    for operations in page["paths"].values():
        for verb, operation in operations.items():
            _complete(operation, verb, shapes)
    return page


def _complete(operation: dict[str, Any], verb: str, shapes: Mapping[str, Any]) -> None:
    told = operation["responses"]
    told.pop("422", None)
    if verb in _BODY and "requestBody" in operation:
        told["413"] = _referring(413)
        for content in operation["requestBody"]["content"].values():
            _exemplify(content, shapes)
    for response in told.values():
        response["headers"] = {"x-request-id": _REQUEST_ID, **response.get("headers", {})}
        for kind, content in response.get("content", {}).items():
            if kind == "application/json":
                _exemplify(content, shapes)
    operation["responses"] = dict(sorted(told.items()))


def _exemplify(content: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    if "example" not in content and content.get("schema"):
        content["example"] = _example(content["schema"], shapes, _DEEPEST)


def _example(schema: Mapping[str, Any], shapes: Mapping[str, Any], depth: int) -> Any:
    """A value that fits a schema: its own example where it has one, otherwise the plainest."""
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rpartition("/")[2]]
    for word in ("examples", "enum"):
        if word in schema:
            return schema[word][0]
    for word in ("example", "default", "const"):
        if word in schema:
            return schema[word]
    for word in ("anyOf", "oneOf"):
        if word in schema and "properties" not in schema:
            return _example(schema[word][0], shapes, depth)
    return _plainest(schema, shapes, depth)


def _plainest(schema: Mapping[str, Any], shapes: Mapping[str, Any], depth: int) -> Any:
    if depth and schema.get("properties"):
        return {
            name: _example(inner, shapes, depth - 1)
            for name, inner in schema["properties"].items()
            if name in schema.get("required", ())
        }
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), shapes, depth - 1)] if depth else []
    return _PLAIN.get(cast("str", schema.get("type")))


def _referring(status: int) -> dict[str, Any]:
    told = _error(status)
    del told["model"]
    told["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/Failure"}
    return told
