"""Lines of a submitted file become requests, or are refused with field, code and reason.

Native lines and OpenAI's batch lines may stand in one file. Every physical line that is not blank
gives exactly one ValidLine or RejectedLine, in order, whatever bytes it holds; reading never raises
for what a line says. Memory is bounded by the longest line allowed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self

from producer.intake import fields, messages
from producer.intake.embeddings import read_embeddings
from producer.intake.first_lines import FirstLines
from producer.intake.json_line import parse_line
from producer.intake.physical import PhysicalLines, Source, pieces_of
from producer.intake.refusal import Refusal
from producer.intake.templates import Template, Templates, filled, no_templates, parse_template
from producer.intake.usual import PlainRequest, plain_request
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

_TOO_LONG = "the line is longer than {limit} bytes; shorten it or raise PROMPTMILL_MAX_LINE_BYTES"

_SHARED: Final = (
    "model", "max_tokens", "max_completion_tokens", "temperature", "response_format",
    "preferences", "constraints", "fallback_models", "metadata", "cache",
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


def read_lines(
    source: Source,
    limits: IntakeLimits,
    known_models: Collection[str],
    templates: Templates = no_templates,
    endpoint: Endpoint | None = None,
) -> Iterator[Line]:
    """Each line that is not blank as a ValidLine or a RejectedLine, in order.

    source: a binary file or its bytes in pieces. known_models: the catalog's names. templates:
    finds those that lines name. endpoint: the only one that OpenAI lines may name; None: any. An
    empty file gives nothing: the caller refuses it.
    """
    with LineReader(limits, known_models, templates, endpoint) as reader:
        for piece in pieces_of(source):
            yield from reader.ended_in(piece)
        yield from reader.rest()


class LineReader:
    """The same for a file that comes by and by. A context manager; each iterator is to be read to
    its end, by one thread at a time.
    """

    def __init__(
        self,
        limits: IntakeLimits,
        known_models: Collection[str],
        templates: Templates = no_templates,
        endpoint: Endpoint | None = None,
    ) -> None:
        self._max = limits.max_line_bytes
        self._physical = PhysicalLines(self._max)
        self._words = frozenset((*ROUTING_WORDS, *known_models))
        self._known = known_models
        self._fill = partial(_without_template, templates, self._max)
        self._endpoint = endpoint
        self._taken = FirstLines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ended_in(self, piece: bytes) -> Iterator[Line]:
        """The lines that end in the next piece."""
        return self._lines(self._physical.ended_in(piece))

    def rest(self) -> Iterator[Line]:
        """Nothing more comes: the line that had no end, if any."""
        return self._lines(self._physical.rest())

    def close(self) -> None:
        """Give back what it remembers."""
        self._taken.close()

    def _lines(self, physical: Iterable[tuple[int, bytes | None]]) -> Iterator[Line]:
        words, known, taken, fill = self._words, self._known, self._taken, self._fill
        for number, content in physical:
            if content is None:
                message = _TOO_LONG.format(limit=self._max)
                yield RejectedLine(number, None, None, "line_too_long", message)
            else:
                line = _read(number, content, words, known, taken, fill)
                yield line if self._endpoint is None else _only(self._endpoint, line)


def read_request(raw: Mapping[str, Any], known_models: Collection[str]) -> Request:
    """The request of one native or OpenAI object that was parsed elsewhere; raises Refusal."""
    return _request(raw, frozenset((*ROUTING_WORDS, *known_models)), known_models)


def read_body(body: Mapping[str, Any], known_models: Collection[str]) -> Request:
    """The request of the body of a chat completion that stands by itself; raises Refusal."""
    if body.get("messages") is None:
        raise Refusal("missing_required_parameter", "messages", "give messages")
    return _made(body, "", frozenset((*ROUTING_WORDS, *known_models)), known_models)


def read_embeddings_body(body: Mapping[str, Any], known_models: Collection[str]) -> Request:
    """The request of the body of a request for embeddings that stands by itself."""
    words = frozenset((*ROUTING_WORDS, *known_models))
    return read_embeddings(body, "", words, known_models)


def _read(
    number: int,
    content: bytes,
    words: frozenset[str],
    known_models: Collection[str],
    taken: FirstLines,
    fill: "_Fill",
) -> Line:
    name: str | None = None
    try:
        raw = parse_line(content)
        if raw.get("custom_id") is not None:
            name = fields.custom_id(raw["custom_id"])
        asked = plain_request(raw, words, Endpoint.CHAT) or _asked(raw, words, known_models, fill)
        if name is not None and taken.first(_digest(name), number) != number:
            message = "an earlier line has the same custom_id; give each line its own"
            return RejectedLine(number, name, "custom_id", "duplicate_custom_id", message)
    except Refusal as refusal:
        return RejectedLine(number, name, refusal.field, refusal.code, refusal.message)
    return ValidLine(number, name, asked)


def _asked(
    raw: Mapping[str, Any], words: frozenset[str], known_models: Collection[str], fill: "_Fill"
) -> Request:
    """What any line asks; raises Refusal."""
    raw, template = fill(raw)
    request = _request(raw, words, known_models)
    return request if template is None else replace(request, template=template)


_Fill = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], str | None]]


def _without_template(
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


def _only(endpoint: Endpoint, line: Line) -> Line:
    """A line that asks for what its batch is for."""
    if isinstance(line, RejectedLine):
        return line
    embeds = isinstance(line.asked, Request) and line.asked.embed is not None
    if embeds == (endpoint is Endpoint.EMBEDDINGS):
        return line
    return RejectedLine(
        line.line, line.custom_id, "url", "url_mismatch", f"must be {endpoint.value}"
    )


def _digest(custom_id: str) -> bytes:
    return blake2b(custom_id.encode(), digest_size=16).digest()


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
            else fields.fallback_models(fallbacks, known_models, f"{at}fallback_models")
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
