"""Lines of a submitted file become requests, or are refused with field, code and reason.

Native lines and OpenAI's batch lines may stand in one file. How a file is read line by line says
`reading`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from producer.intake import fields, messages
from producer.intake.embeddings import read_embeddings
from producer.intake.refusal import Refusal
from producer.intake.templates import Template, Templates, filled, parse_template
from producer.intake.usual import PlainRequest
from shared.domain.batch import Endpoint
from shared.domain.decisions import Mode
from shared.domain.inference import Constraints, Request, Tier

_ENDPOINTS: Final = tuple(endpoint.value for endpoint in Endpoint)
ROUTING_WORDS: Final = (Mode.AUTO.value, Mode.CHEAPEST.value, Mode.BEST.value, *Tier)


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """How long a line may be, in bytes without its end."""

    max_line_bytes: int = 4 * 1024 * 1024


class ValidLine(NamedTuple):
    """What is asked, with its line in the file (from 1) and its name, if it has one. A named tuple:
    a file has a million of them.
    """

    line: int
    custom_id: str | None
    asked: PlainRequest | Request

    @property
    def request(self) -> Request:
        """What is asked, as a whole request."""
        return self.asked if isinstance(self.asked, Request) else self.asked.request()


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """Why a line cannot run. `field` is None where the line as a whole is wrong; `custom_id` is
    given where it could be read. `message` says what to do and quotes no prompt.
    """

    line: int
    custom_id: str | None
    field: str | None
    code: str
    message: str


Line = ValidLine | RejectedLine

_SHARED: Final = (
    "model", "max_tokens", "max_completion_tokens", "temperature", "response_format",
    "preferences", "constraints", "fallback_models",
    "preferred_models", "metadata", "cache",
)  # fmt: skip
_NATIVE: Final = (
    "prompt", "messages", "template", "vars", "custom_id", *_SHARED, *fields.NATIVE_EXTRAS,
)  # fmt: skip
NATIVE_FIELDS: Final = frozenset(_NATIVE)
_OPENAI: Final = ("custom_id", "method", "url", "body")
_READ: Final = frozenset({"prompt", "messages", "custom_id", "stream", *_SHARED})

_UNBOUND: Final = Constraints()
_NO_STREAM = "streaming is not supported in batches; leave it out"
_UNPRICED = "changes the price beyond what the tokens cost; leave it out"
_OWN_PLACE = "stands in no body; {instead}"
_REFUSED_IN_BODY: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "web_search_options", "audio", "plugins", "models", "route", "search_parameters",
            "enable_search", "best_of",
        ),
        _UNPRICED,
    ),
    "stream_options": _NO_STREAM,
    "max_cost_usd": _OWN_PLACE.format(instead="write constraints.max_cost_usd"),
    "webhook_url": _OWN_PLACE.format(instead="give it with the submission"),
}  # fmt: skip


def read_body(body: Mapping[str, Any], known_models: Collection[str]) -> Request:
    """The request of the body of a chat completion that stands by itself; raises Refusal."""
    if body.get("messages") is None:
        raise Refusal("missing_required_parameter", "messages", "give messages")
    return _made(body, "", frozenset((*ROUTING_WORDS, *known_models)), known_models)


def read_embeddings_body(body: Mapping[str, Any], known_models: Collection[str]) -> Request:
    """The request of the body of a request for embeddings that stands by itself."""
    words = frozenset((*ROUTING_WORDS, *known_models))
    return read_embeddings(body, "", words, known_models)


def asked_by(
    raw: Mapping[str, Any], words: frozenset[str], known_models: Collection[str], fill: "Fill"
) -> Request:
    """What any line asks; raises Refusal."""
    raw, template = fill(raw)
    request = _request(raw, words, known_models)
    return request if template is None else replace(request, template=template)


Fill = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], str | None]]


def without_template(
    templates: Templates, most_bytes: int, raw: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str | None]:
    """A line as it is, or with its template's texts in it, and the template's reference."""
    if ("template" in raw or "vars" in raw) and not raw.keys() & {"body", "url", "method"}:
        return filled(raw, templates, NATIVE_FIELDS, most_bytes)
    return raw, None


def read_template(
    raw: object, known_models: Collection[str], reference: str | None = None
) -> Template:
    """A template that can become requests, whatever its values; raises Refusal."""
    template = parse_template(raw, NATIVE_FIELDS, reference=reference)
    try:
        _request(template.fields, frozenset((*ROUTING_WORDS, *known_models)), known_models)
    except Refusal as refusal:
        field = "template" if refusal.field is None else f"template.{refusal.field}"
        raise Refusal(refusal.code, field, refusal.message) from None
    return template


def _request(
    raw: Mapping[str, Any], words: frozenset[str], known_models: Collection[str]
) -> Request:
    if "body" in raw or "url" in raw or "method" in raw:
        body = _openai_body(raw)
        if raw["url"] == Endpoint.EMBEDDINGS:
            return read_embeddings(body, "body.", words, known_models)
        return _made(body, "body.", words, known_models)
    for name in raw:
        if name not in NATIVE_FIELDS:
            raise fields.unknown(name, "", _NATIVE)
    return _made(raw, "", words, known_models)


def _openai_body(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in raw:
        if name not in _OPENAI:
            raise fields.unknown(name, "", _OPENAI)
    for name in _OPENAI:
        if raw.get(name) is None:
            message = f"a batch line needs {', '.join(_OPENAI)}"
            raise Refusal("missing_required_parameter", name, message)
    if raw["method"] != "POST":
        raise Refusal("invalid_value", "method", 'must be "POST"')
    if raw["url"] not in _ENDPOINTS:
        raise Refusal("url_mismatch", "url", f"must be {' or '.join(_ENDPOINTS)}")
    return fields.mapping(raw["body"], "body")


def _made(
    body: Mapping[str, Any], at: str, words: frozenset[str], known_models: Collection[str]
) -> Request:
    get = body.get
    asked = _messages(body, at)
    model = get("model")
    temperature = get("temperature")
    form = get("response_format")
    weights = get("preferences")
    limits = get("constraints")
    fallbacks = get("fallback_models")
    preferred = get("preferred_models")
    notes = get("metadata")
    cache = get("cache")
    return Request(
        messages=asked,
        model="auto" if model is None else fields.model(model, words, f"{at}model"),
        max_tokens=_max_tokens(body, at),
        temperature=(
            None if temperature is None else fields.number(temperature, f"{at}temperature", 0, 2)
        ),
        response_format=(
            None if form is None else fields.response_format(form, f"{at}response_format")
        ),
        extras=_extras(body, at),
        preferences=None if weights is None else fields.preferences(weights, f"{at}preferences"),
        constraints=(
            _UNBOUND
            if limits is None
            else fields.constraints(limits, known_models, f"{at}constraints")
        ),
        fallback_models=(
            ()
            if fallbacks is None
            else fields.some_models(fallbacks, known_models, f"{at}fallback_models")
        ),
        preferred_models=(
            ()
            if preferred is None
            else fields.some_models(preferred, known_models, f"{at}preferred_models")
        ),
        metadata={} if notes is None else fields.mapping(notes, f"{at}metadata"),
        cache=None if cache is None else fields.flag(cache, f"{at}cache"),
    )


def _messages(body: Mapping[str, Any], at: str) -> tuple[Mapping[str, Any], ...]:
    prompt, given = body.get("prompt"), body.get("messages")
    if prompt is not None and given is not None:
        raise Refusal("prompt_and_messages", f"{at}prompt", "give prompt or messages, not both")
    if given is not None:
        return messages.checked(given, f"{at}messages")
    if prompt is not None and not at:
        return messages.from_prompt(prompt)
    field = "prompt" if not at else f"{at}messages"
    wanted = "give a prompt or messages" if not at else "give messages"
    raise Refusal("missing_required_parameter", field, wanted)


def _max_tokens(body: Mapping[str, Any], at: str) -> int | None:
    """Both names are read and checked; max_completion_tokens is the newer one and wins."""
    limit = None
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is not None:
            limit = fields.whole(value, f"{at}{name}", 1, fields.MAX_TOKENS)
    return limit


def _extras(body: Mapping[str, Any], at: str) -> dict[str, Any]:
    """What passes to the provider; a null means the same as a field left out."""
    extras = {}
    if body.get("stream"):
        raise Refusal("unsupported_parameter", f"{at}stream", _NO_STREAM)
    for name, value in body.items():
        if name in _READ or value is None:
            continue
        if name in _REFUSED_IN_BODY:
            raise Refusal("unsupported_parameter", f"{at}{name}", _REFUSED_IN_BODY[name])
        fields.checked_extra(name, value, f"{at}{name}")
        extras[name] = value
    if "modalities" in extras and extras["modalities"] != ["text"]:
        raise Refusal("unsupported_parameter", f"{at}modalities", 'only ["text"] is supported')
    if extras.get("service_tier", "auto") not in ("auto", "default"):
        raise Refusal("unsupported_parameter", f"{at}service_tier", _UNPRICED)
    return extras
