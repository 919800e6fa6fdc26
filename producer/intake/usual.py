"""Lines of the usual shape: texts and a few plain fields, as most lines of a large file are.

To make a `Request` of each and write it down again takes longer than to read it. Here nothing is
ever refused: where anything is out of the ordinary the answer is None, and the reading that knows
every field decides. A property test holds both to the same answer.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson

from producer.intake.fields import MAX_TOKENS
from producer.intake.messages import ROLES
from shared.domain.inference import Request

_PLAIN: Final = frozenset({"messages", "model", "max_tokens", "temperature"})
_NATIVE: Final = _PLAIN | {"prompt", "custom_id"}
_OPENAI: Final = frozenset({"custom_id", "method", "url", "body"})
_HOTTEST: Final = 2


class PlainRequest(NamedTuple):
    """A request of which everything else is as it is by default."""

    messages: list[Any]
    model: str
    max_tokens: int | None
    temperature: float | None

    def to_json(self) -> bytes:
        """The stored form, as `Request.to_json` gives it."""
        stored: dict[str, Any] = {"messages": self.messages}
        if self.model != "auto":
            stored["model"] = self.model
        if self.max_tokens is not None:
            stored["max_tokens"] = self.max_tokens
        if self.temperature is not None:
            stored["temperature"] = self.temperature
        return orjson.dumps(stored)

    def request(self) -> Request:
        """The same as a whole request."""
        return Request(tuple(self.messages), self.model, self.max_tokens, self.temperature)


def plain_request(
    raw: Mapping[str, Any], words: Collection[str], chat_url: str
) -> PlainRequest | None:
    """What a line of the usual shape asks for; None for any other line.

    words: the models and routing words that a line may name. The custom_id is left to the caller.
    """
    if raw.get("body") is None:
        if not raw.keys() <= _NATIVE:
            return None
        prompt = raw.get("prompt")
        if prompt is None:
            return _made(raw, _plain(raw.get("messages")), words)
        if type(prompt) is not str or not prompt.strip() or raw.get("messages") is not None:
            return None
        return _made(raw, [{"role": "user", "content": prompt}], words)
    body = _body(raw, chat_url)
    return None if body is None else _made(body, _plain(body.get("messages")), words)


def _body(raw: Mapping[str, Any], chat_url: str) -> dict[str, Any] | None:
    """The body of an OpenAI line, where it holds plain fields only."""
    body = raw["body"]
    if type(body) is not dict or not body.keys() <= _PLAIN or raw.keys() != _OPENAI:
        return None
    is_asked = raw["method"] == "POST" and raw["url"] == chat_url and raw["custom_id"] is not None
    return body if is_asked else None


def _made(
    fields: Mapping[str, Any], messages: list[Any] | None, words: Collection[str]
) -> PlainRequest | None:
    model, limit, heat = fields.get("model"), fields.get("max_tokens"), fields.get("temperature")
    if messages is None:
        return None
    if model is None:
        model = "auto"
    elif type(model) is not str or model not in words:
        return None
    if limit is not None and not (type(limit) is int and 1 <= limit <= MAX_TOKENS):
        return None
    if heat is not None and not (type(heat) in (int, float) and 0 <= heat <= _HOTTEST):
        return None
    return PlainRequest(messages, model, limit, heat)


def _plain(messages: object) -> list[Any] | None:
    """The messages, where each has a role and a text and nothing else."""
    if type(messages) is not list or not messages:
        return None
    for message in messages:
        if type(message) is not dict or len(message) != 2:  # noqa: PLR2004  (role and content)
            return None
        if message.get("role") not in ROLES or type(message.get("content")) is not str:
            return None
    return messages
