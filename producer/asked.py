"""What the body of a chat completion, an embeddings request or a comparison asks for. Pure."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from producer.intake.json_line import parse_line
from producer.intake.lines import read_body, read_embeddings_body
from producer.intake.refusal import Refusal
from producer.options import usd
from shared.catalog.spec import Catalog
from shared.domain.inference import Request
from shared.errors import NotFoundError, UsageError

MAX_COMPARED: Final = 16
_OWN: Final = ("stream", "stream_options", "max_cost_usd", "project")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one body asks for: a request for each answer, all told or read together.

    include_usage: a stream ends with a chunk of its usage.
    """

    requests: tuple[Request, ...]
    max_cost_nusd: int | None = None
    include_usage: bool = False
    project: str | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is wanted piece by piece."""
        return self.requests[0].stream

    def digest(self) -> str:
        """What makes a body the same one as another."""
        parts = [request.to_json() for request in self.requests]
        told = b"\n".join([*parts, str(self.max_cost_nusd).encode()])
        return hashlib.sha256(told).hexdigest()


def read_chat(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a chat completion asks for. Raises UsageError."""
    raw = _parsed(body)
    options = raw.get("stream_options")
    options = {} if options is None else options
    stream = raw.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise UsageError("stream must be true or false", code="invalid_type", param="stream")
    if not isinstance(options, Mapping):
        message = "stream_options must be an object"
        raise UsageError(message, code="invalid_type", param="stream_options")
    if options and not stream:
        message = "stream_options is only allowed with stream: true"
        raise UsageError(message, code="invalid_value", param="stream_options")
    request = _request(raw, catalog.models)
    return Asked(
        (replace(request, stream=bool(stream)),),
        _cap(raw),
        include_usage=options.get("include_usage") is True,
        project=_project(raw),
    )


def read_comparison(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a comparison asks for: `models` beside the fields of a chat completion,
    where a `prompt` may stand for the messages. Raises UsageError.
    """
    raw = dict(_parsed(body))
    if raw.get("stream"):
        raise UsageError(
            "a comparison is not streamed", code="unsupported_parameter", param="stream"
        )
    models = raw.pop("models", None)
    if not isinstance(models, list) or not 1 <= len(set(map(str, models))) <= MAX_COMPARED:
        message = f"models is a list of 1 to {MAX_COMPARED} different models"
        raise UsageError(message, code="invalid_value", param="models")
    prompt = raw.pop("prompt", None)
    if prompt is not None:
        if raw.get("messages") is not None:
            message = "give prompt or messages, not both"
            raise UsageError(message, code="prompt_and_messages", param="prompt")
        raw["messages"] = [{"role": "user", "content": prompt}]
    named = list(dict.fromkeys(map(str, models)))
    requests = [_request({**raw, "model": model}, catalog.models) for model in named]
    return Asked(tuple(requests), _cap(raw), project=_project(raw))


def read_embeddings(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a request for embeddings asks for. Raises UsageError."""
    raw = _parsed(body)
    request = _request(raw, catalog.models, read_embeddings_body)
    return Asked((request,), _cap(raw), project=_project(raw))


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        return parse_line(body)
    except Refusal as refusal:
        message = refusal.message.replace("the line", "the body").replace("a line", "the body")
        code = refusal.code.removesuffix("_line")
        raise UsageError(message, code=code) from None


def _request(
    raw: Mapping[str, Any],
    models: Collection[str],
    read: Callable[[Mapping[str, Any], Collection[str]], Request] = read_body,
) -> Request:
    body = {name: value for name, value in raw.items() if name not in _OWN}
    try:
        return read(body, models)
    except Refusal as refusal:
        wrong = NotFoundError if refusal.code == "model_not_found" else UsageError
        message = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
        raise wrong(message, code=refusal.code, param=refusal.field) from None


def _cap(raw: Mapping[str, Any]) -> int | None:
    given = raw.get("max_cost_usd")
    return None if given is None else usd(given, "max_cost_usd")


def _project(raw: Mapping[str, Any]) -> str | None:
    given = raw.get("project")
    if given is not None and not isinstance(given, str):
        raise UsageError("project must be a string", code="invalid_type", param="project")
    return given
