"""One prompt answered now: what is asked of the chat completions, and what they answer. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

import orjson

from producer.client.answers import ApiError, Json
from producer.client.calls import Call, Usd, path

PATIENCE_S: Final = 900.0
"""How long an answer may take; the server gives up before (PROMPTMILL_ANSWER_WITHIN_S)."""

_DATA: Final = b"data: "
_DONE: Final = b"[DONE]"

Prompt = str | Sequence[Mapping[str, Any]]
"""What a user says, or a conversation of message objects."""


class AskOptions(TypedDict, total=False):
    """How a prompt is asked; every key may be left out.

    model: auto (the default), cheapest, best, a tier, or a model's name. fields: further fields of
    a chat completion (`temperature`, `response_format`, ...).
    """

    model: str
    max_tokens: int
    max_cost_usd: Usd
    fallback_models: list[str]
    preferred_models: list[str]
    metadata: Mapping[str, str]
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt's answer, where it came from, and what it cost in nano-dollars.

    `raw` is the whole `chat.completion` (of a streamed answer: its last chunk). `job_id` leads to
    the story of how it came about (`job`).
    """

    text: str
    model: str | None
    provider: str | None
    tier: str | None
    task_type: str | None
    difficulty: float | None
    escalated: bool
    attempts: int
    cost_nusd: int
    finish_reason: str | None
    job_id: str
    raw: Json = field(repr=False)


def chat(
    prompt: Prompt,
    preferences: Mapping[str, float] | None,
    constraints: Mapping[str, Any] | None,
    options: AskOptions,
    idempotency_key: str,
    *,
    stream: bool = False,
) -> Call:
    """The call. Under its key an answer is never bought twice, so it may be sent again."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    body: dict[str, Any] = {**(options.get("fields") or {}), "messages": messages}
    for name in ("model", "max_tokens", "fallback_models", "preferred_models", "metadata"):
        if options.get(name) is not None:
            body[name] = options[name]
    if options.get("max_cost_usd") is not None:
        body["max_cost_usd"] = str(options["max_cost_usd"])
    if preferences is not None:
        body["preferences"] = dict(preferences)
    if constraints is not None:
        body["constraints"] = _with_text_amounts(constraints)
    if stream:
        body["stream"] = True
    headers = {"Idempotency-Key": idempotency_key}
    return Call(
        "POST", path("chat", "completions"), body=body, headers=headers, timeout_s=PATIENCE_S
    )


def answer_of(raw: Json, text: str | None = None) -> Answer:
    """The answer in a completion, or in a stream's last chunk where `text` was told before it.
    Raises ApiError for what is neither.
    """
    try:
        own, choice = raw["promptmill"], raw["choices"][0]
        if text is None:
            text = choice["message"].get("content") or ""
        return Answer(
            text=text,
            model=own["model"],
            provider=own.get("provider"),
            tier=own.get("tier"),
            task_type=own.get("task_type"),
            difficulty=own.get("difficulty"),
            escalated=bool(own.get("escalated")),
            attempts=int(own.get("attempts") or 0),
            cost_nusd=int(own["cost_nusd"]),
            finish_reason=choice.get("finish_reason"),
            job_id=own["job_id"],
            raw=raw,
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise ApiError(200, "the answer is no completion of a Promptmill API") from None


class StreamReading:
    """The pieces of a streamed answer's first choice, and the whole answer after the last one."""

    def __init__(self) -> None:
        self._rest = b""
        self._text: list[str] = []
        self._last: Json | None = None

    def pieces(self, block: bytes) -> Iterator[str | Answer]:
        """What a block of the body tells; raises ApiError where the stream tells of a failure."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        yield from self._told(lines)

    def end(self) -> None:
        """The body is over; raises ApiError where the answer is not."""
        if self._last is not None or self._rest:
            raise ApiError(200, "the stream broke off before the answer's end: try again")

    def _told(self, lines: Iterable[bytes]) -> Iterator[str | Answer]:
        for line in lines:
            if not line.startswith(_DATA):
                continue  # comments that keep the connection open, and the events' blank lines
            data = line.removeprefix(_DATA).strip()
            if data == _DONE:
                yield answer_of(self._last or {}, "".join(self._text))
                self._last = None
                continue
            yield from self._chunk(orjson.loads(data))

    def _chunk(self, chunk: Json) -> Iterator[str]:
        error = chunk.get("error")
        if error:
            raise ApiError(200, str(error.get("message")), code=error.get("code"))
        self._last = chunk
        for choice in chunk.get("choices") or ():
            text = choice["delta"].get("content")
            if choice.get("index") == 0 and text:
                self._text.append(text)
                yield text


def _with_text_amounts(constraints: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts as decimal text: JSON has no exact numbers."""
    given = dict(constraints)
    if given.get("max_cost_usd") is not None:
        given["max_cost_usd"] = str(given["max_cost_usd"])
    return given
