"""Streamed answers: deltas in OpenAI's shape as they come, the whole answer at the end.

Each wire's decoder turns its events into the `choices` of OpenAI chunks; what they add up to is
kept here, so that at the end there is a completion like any other, and after a cut an account of
what was written until then.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.domain.inference import Completion, FinishReason, JsonObject, Usage
from worker.providers.completions import mean_of, usage_object
from worker.providers.errors import MaybeBilled
from worker.providers.server_sent_events import Event

_MOST_PLACES: Final = 1000
"""Choices of an answer, and tool calls of a choice; OpenAI allows 128 of each."""

_JOINED: Final = frozenset({"content", "refusal", "reasoning_content", "reasoning"})


@dataclass(slots=True)
class _ChoiceSoFar:
    texts: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    tokens: list[Any] = field(default_factory=list)
    finish: FinishReason | None = None

    def add(self, choice: JsonObject) -> None:
        for name, value in choice["delta"].items():
            if name == "tool_calls":
                for call in value:
                    self._add_call(call)
            elif name in _JOINED:
                if isinstance(value, str):
                    self.texts.setdefault(name, []).append(value)
            elif name != "role" and value is not None:
                self.others[name] = value
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self.tokens.extend(logprobs["content"])
        if choice.get("finish_reason"):
            self.finish = FinishReason(choice["finish_reason"])

    def _add_call(self, call: JsonObject) -> None:
        known = self.calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
        function = call.get("function") or {}
        known["id"] = known["id"] or _text(call.get("id"))
        known["name"] = known["name"] or _text(function.get("name"))
        known["arguments"] += _text(function.get("arguments"))

    def text(self, name: str) -> str:
        return "".join(self.texts.get(name, ()))

    @property
    def written_bytes(self) -> int:
        """UTF-8 bytes of everything the model wrote: at least as many as its tokens."""
        texts = ["".join(pieces) for pieces in self.texts.values()]
        calls = [call["name"] + call["arguments"] for call in self.calls.values()]
        return sum(len(text.encode("utf-8", "replace")) for text in (*texts, *calls))

    def message(self) -> dict[str, Any]:
        content, refusal = self.text("content"), self.text("refusal")
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not (self.calls or refusal) else None,
            "refusal": refusal or None,
            **self.others,
        }
        for name in self.texts.keys() - {"content", "refusal"}:
            message[name] = self.text(name)
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for _, call in sorted(self.calls.items())
            ]
        return message


class StreamDecoder(ABC):
    """Decodes one streamed answer; a wire overrides `read`.

    usage: what the provider said so far. is_complete: the stream told its own end.
    """

    def __init__(self) -> None:
        self.answer_id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.is_complete = False
        self._choices: dict[int, _ChoiceSoFar] = {}
        self._more: dict[str, Any] = {}

    def feed(self, event: Event) -> Sequence[JsonObject]:
        """The choices of the chunk that an event becomes, none for many. Raises ProviderError."""
        choices = self.read(event)
        for choice in choices:
            index = choice["index"]
            _check_places(index, *(call["index"] for call in choice["delta"].get("tool_calls", ())))
            if index not in self._choices:
                self._choices[index] = _ChoiceSoFar()
                choice["delta"] = {"role": "assistant", **choice["delta"]}
            self._choices[index].add(choice)
        return choices

    @abstractmethod
    def read(self, event: Event) -> list[dict[str, Any]]:
        """An event's choices as {index, delta, logprobs, finish_reason}, the reason in OpenAI's
        words.
        """

    def keep(self, **fields: Any) -> None:
        """Remember fields of the answer's body that this wire knows beside the usual ones."""
        self._more.update(fields)

    @property
    def all_finished(self) -> bool:
        """Whether every choice so far has told why it ended."""
        return bool(self._choices) and all(c.finish is not None for c in self._choices.values())

    @property
    def written_bytes(self) -> int:
        """UTF-8 bytes of everything written so far, of all choices."""
        return sum(choice.written_bytes for choice in self._choices.values())

    def completion(self) -> Completion:
        """The whole answer. Raises MaybeBilled("stream_cut") where the end is missing."""
        if not (self.is_complete and self.all_finished):
            raise MaybeBilled("stream_cut", "the stream ended before the answer did")
        ordered = sorted(self._choices.items())
        first = ordered[0][1]
        body = {
            "id": self.answer_id or "chatcmpl-unnamed",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            **self._more,
            "choices": [_whole(index, choice) for index, choice in ordered],
            "usage": None if self.usage is None else usage_object(self.usage),
        }
        return Completion(
            text=first.text("content"),
            finish_reason=first.finish or FinishReason.STOP,
            usage=self.usage or Usage(),
            body=body,
            refusal=first.text("refusal") or None,
            mean_logprob=mean_of(_logprobs(first.tokens)),
        )


def choice_of(
    delta: dict[str, Any],
    *,
    index: int = 0,
    finish: FinishReason | None = None,
    logprobs: Any = None,
) -> dict[str, Any]:
    """One choice of an OpenAI chunk."""
    return {
        "index": index,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": None if finish is None else finish.value,
    }


def call_delta(
    index: int, *, arguments: str = "", call_id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """A delta with a piece of one tool call; id and name in its first piece only."""
    function: dict[str, Any] = {"arguments": arguments}
    call: dict[str, Any] = {"index": index, "function": function}
    if name is not None:
        call |= {"id": call_id or f"call_{index}", "type": "function"}
        call["function"] = {"name": name, **function}
    return {"tool_calls": [call]}


def as_deltas(completion: Completion) -> list[dict[str, Any]]:
    """The choices of the one chunk that a whole answer is: for hosts that do not stream."""
    told = []
    for choice in completion.body["choices"]:
        delta = dict(choice["message"])
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        finish = FinishReason(choice["finish_reason"])
        logprobs = choice.get("logprobs")
        told.append(choice_of(delta, index=choice["index"], finish=finish, logprobs=logprobs))
    return told


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MaybeBilled("garbage", "a piece of a tool call is no text")
    return value


def _check_places(*places: int) -> None:
    # Foreign numbers: they are sent on, and somebody counts up to them.
    if not all(0 <= place < _MOST_PLACES for place in places):
        raise MaybeBilled("garbage", "a choice or tool call of an impossible number")


def _whole(index: int, choice: _ChoiceSoFar) -> dict[str, Any]:
    return {
        "index": index,
        "message": choice.message(),
        "logprobs": {"content": choice.tokens, "refusal": None} if choice.tokens else None,
        "finish_reason": (choice.finish or FinishReason.STOP).value,
    }


def _logprobs(tokens: Sequence[Any]) -> list[float]:
    return [
        float(token["logprob"])
        for token in tokens
        if isinstance(token, dict) and isinstance(token.get("logprob"), int | float)
    ]
