"""What is asked of a language model and what comes back, in no provider's own words.

`Request` is the normal form of one prompt: intake makes it from native and OpenAI lines, the job
row stores it as JSON (`to_json`, `from_json`), the wires turn it into each provider's body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from shared.domain.values import made_often

JsonObject = Mapping[str, Any]


class TaskType(StrEnum):
    """What kind of work a prompt asks for."""

    CODING = "coding"
    CREATIVE = "creative"
    ANALYSIS = "analysis"
    COMPLEX_REASONING = "complex_reasoning"
    SIMPLE_QA = "simple_qa"


class Tier(StrEnum):
    """How strong, and so how dear, a model is; the order is the ladder's."""

    CHEAP = "cheap"
    MID = "mid"
    HIGH = "high"


class FinishReason(StrEnum):
    """Why a model stopped, in OpenAI's words, to which every wire is mapped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Preferences:
    """Weights of the routing score; any non-negative numbers, their ratio counts."""

    cost: float = 0.4
    latency: float = 0.1
    quality: float = 0.5


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a route must keep, whatever it costs. None means no such constraint."""

    max_cost_nusd: int | None = None
    max_latency_s: float | None = None
    allowed_models: tuple[str, ...] | None = None
    min_tier: Tier | None = None


@made_often(frozen=True, slots=True)
class Request:
    """One prompt in normal form.

    messages: OpenAI's message objects (role, content as string or text parts, tool calls).
    model: "auto", a tier's name, or a model's name in the catalog.
    extras: further fields of the body, passed through to the provider untouched.
    preferences: None where the line gave none (the project's, then the default, apply).
    fallback_models: asked in this order where the first model's provider is sick. preferred_models:
    chosen before all others that are adequate.
    stream: somebody reads along, so the answer is told piece by piece and cannot be replaced.
    template: "name@version" of the template its texts were made by; decides nothing.
    embed: of a request for embeddings: input, and dimensions and encoding_format where given, in
    OpenAI's words; then there are no messages.
    cache: whether an answer to the same request does; None leaves it to `repetition.may_repeat`.
    """

    messages: tuple[JsonObject, ...]
    model: str = "auto"
    max_tokens: int | None = None
    temperature: float | None = None
    response_format: JsonObject | None = None
    extras: JsonObject = field(default_factory=dict)
    preferences: Preferences | None = None
    constraints: Constraints = Constraints()
    fallback_models: tuple[str, ...] = ()
    preferred_models: tuple[str, ...] = ()
    metadata: JsonObject = field(default_factory=dict)
    stream: bool = False
    template: str | None = None
    cache: bool | None = None
    embed: JsonObject | None = None

    def to_json(self) -> bytes:
        """The stored form: only what differs from the default."""
        stored: dict[str, Any] = {"messages": self.messages}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value is not default and value != default:
                stored[name] = value
        return orjson.dumps(stored)

    @classmethod
    def from_json(cls, stored: bytes | str) -> "Request":
        """The request that `to_json` stored."""
        raw = orjson.loads(stored)
        raw["messages"] = tuple(raw["messages"])
        if "preferences" in raw:
            raw["preferences"] = Preferences(**raw["preferences"])
        if "constraints" in raw:
            raw["constraints"] = _constraints(raw["constraints"])
        for names in ("fallback_models", "preferred_models"):
            if names in raw:
                raw[names] = tuple(raw[names])
        return cls(**raw)

    @property
    def last_user_text(self) -> str:
        """The text of the last user message: what is being asked."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return text_of(self.messages[-1].get("content")) if self.messages else ""

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON (mode or schema)."""
        kind = (self.response_format or {}).get("type")
        return kind in ("json_object", "json_schema")

    @property
    def wants_tools(self) -> bool:
        """Whether tools are offered to the model."""
        return bool(self.extras.get("tools"))

    @property
    def embedded_inputs(self) -> tuple[str | list[int], ...]:
        """What a request for embeddings wants a vector of, each: a text or its tokens."""
        if self.embed is None:
            return ()
        given = self.embed["input"]
        is_one = isinstance(given, str) or isinstance(given[0], int)
        return (given,) if is_one else tuple(given)

    @property
    def choices(self) -> int:
        """How many answers are asked for at once (`n`); each may use all of max_tokens."""
        return int(self.extras.get("n") or 1)


_DEFAULTS: dict[str, Any] = {
    "model": "auto",
    "max_tokens": None,
    "temperature": None,
    "response_format": None,
    "extras": {},
    "preferences": None,
    "constraints": Constraints(),
    "fallback_models": (),
    "preferred_models": (),
    "metadata": {},
    "stream": False,
    "template": None,
    "cache": None,
    "embed": None,
}


def _constraints(raw: dict[str, Any]) -> Constraints:
    if raw.get("allowed_models") is not None:
        raw["allowed_models"] = tuple(raw["allowed_models"])
    if raw.get("min_tier") is not None:
        raw["min_tier"] = Tier(raw["min_tier"])
    return Constraints(**raw)


def text_of(content: object) -> str:
    """The text of a message's content: a string as it is, text parts joined by new lines."""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


@made_often(frozen=True, slots=True)
class Usage:
    """What a provider says a call used, in tokens; the basis of its cost.

    The parts of the input are disjoint and so are those of the output's billing: `input_tokens`
    excludes cached reads and cache writes (Anthropic's counting; OpenAI's cached_tokens, a subset
    of its prompt_tokens, is taken out by the wire). `output_tokens` includes `reasoning_tokens`,
    which is for information only.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_input_tokens(self) -> int:
        """All input tokens, however they are priced."""
        return (
            self.input_tokens
            + self.cached_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
        )


@made_often(frozen=True, slots=True)
class Completion:
    """A model's answer.

    text: the first choice's text, "" where it has none (tool calls, blocked prompts, embeddings).
    body: the answer as an OpenAI `chat.completion` object, whatever the wire was; embeddings as
    OpenAI's list of them.
    mean_logprob: mean log-probability of the answer's tokens where the provider gave them.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    body: JsonObject
    refusal: str | None = None
    mean_logprob: float | None = None

    @property
    def has_tool_calls(self) -> bool:
        """Whether the answer calls tools, so that an empty text is no weakness."""
        return self.finish_reason is FinishReason.TOOL_CALLS
