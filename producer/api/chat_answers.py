"""The shapes of a conversation's answer: completion, chunks, errors, and the rest of an answer of
which a part has been told. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from producer.api.answers import error_type
from producer.reporting.result_lines import promptmill_object
from shared.domain.inference import JsonObject, text_of
from shared.domain.job import JobStatus
from shared.domain.money import usd_from_nusd

_STREAMED: Final = "a streamed answer is routed, not escalated"
_DONE: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"
_SERVER: Final = 500
_TOO_MANY: Final = 429
_LONGEST_MESSAGE: Final = 1000

# Code of a job's error -> HTTP status, and whether OpenAI's SDK may ask again by itself: it may
# not where the answer would be the same, or where the call may have been paid for.
_STATUS: Final[Mapping[str, tuple[int, bool]]] = {
    "budget_exceeded": (402, False),
    "budget_busy": (429, True),
    "rate_limit_exceeded": (429, True),
    "provider_unavailable": (503, True),
    "model_not_found": (404, False),
    "no_model": (400, False),
    "timeout": (504, False),
    "batch_expired": (504, False),
    "batch_cancelled": (409, False),
    "poison": (500, False),
}
_MAYBE_BILLED: Final = (502, False)


@dataclass(frozen=True, slots=True)
class Refused:
    """An error as it goes out."""

    status: int
    message: str
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def error(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = error_type(self.status)
        return {"message": self.message, "type": kind, "param": None, "code": self.code}


TIMED_OUT: Final = Refused(
    504,
    "the answer did not come in time; the request was called off",
    "request_timeout",
    {"x-should-retry": "false"},
)


def refused(row: Any) -> Refused:
    """The error of a job that has no answer, from its row of the results."""
    error: Mapping[str, Any] = row.error or {}
    code = str(error.get("code") or "error")
    told = error.get("status")
    status, again = _STATUS.get(code, _MAYBE_BILLED)
    if code not in _STATUS and isinstance(told, int) and 400 <= told < _SERVER:  # noqa: PLR2004
        status, again = told, False  # the provider refused the request for what it says
    headers = {} if again else {"x-should-retry": "false"}
    wait = error.get("retry_after_s")
    if again and isinstance(wait, int | float):
        headers |= {"retry-after-ms": str(round(wait * 1000)), "retry-after": str(int(wait) + 1)}
    message = str(error.get("message") or "there is no answer")[:_LONGEST_MESSAGE]
    figures = {name: error[name] for name in ("scope", "need_nusd", "limit_nusd") if name in error}
    return Refused(status, message, code, headers, {"promptmill": promptmill_object(row) | figures})


def completion(row: Any) -> dict[str, Any]:
    """The answer of a completed job as a `chat.completion`, with our object."""
    body: dict[str, Any] = orjson.loads(row.body)
    body["model"] = body.get("model") or row.model
    body["promptmill"] = {**promptmill_object(row), "streamed": False}
    return body


def compared(rows: Sequence[Any], models: Sequence[str], batch_id: str) -> dict[str, Any]:
    """The answers of several models to one prompt, in the order in which they were named."""
    told = [_side(row, model) for row, model in zip(rows, models, strict=True)]
    cost = sum(row.cost_nusd for row in rows)
    return {
        "id": batch_id,
        "object": "comparison",
        "data": told,
        "cost_nusd": cost,
        "cost_usd": usd_from_nusd(cost),
    }


def _side(row: Any, model: str) -> dict[str, Any]:
    answered = row.status == JobStatus.COMPLETED
    response = completion(row) if answered else None
    usage = response["usage"] if response else None
    text = text_of(response["choices"][0]["message"].get("content")) if response else None
    ours = promptmill_object(row)
    return {
        "model": model,
        "status": row.status,
        "text": text,
        "finish_reason": row.finish_reason,
        "cost_nusd": row.cost_nusd,
        "cost_usd": ours["cost_usd"],
        "latency_s": ours["latency_s"],
        "usage": usage,
        "error": None if answered else refused(row).error(),
        "response": response,
        "promptmill": ours,
    }


class Chunks:
    """The chunks of one streamed answer, as events; remembers what was told.

    The chunks that hold a finish reason are kept back until the job's end is in the database: they
    carry what it cost.
    """

    def __init__(self, answer_id: str, created: int, *, include_usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
            "system_fingerprint": None,
        }
        self._include_usage = include_usage
        self._last: list[dict[str, Any]] = []
        self._told: dict[int, str] = {}
        self._told_calls = False
        self.has_begun = False

    def of(self, model: str, choices: Sequence[JsonObject]) -> bytes:
        """The events of choices that a worker told."""
        self._head["model"] = model
        self.has_begun = True
        events = []
        for choice in choices:
            delta = choice["delta"]
            if isinstance(delta.get("content"), str):
                self._note(choice["index"], delta["content"])
            self._told_calls = self._told_calls or bool(delta.get("tool_calls"))
            if choice["finish_reason"] is not None:
                self._last.append(dict(choice))
            else:
                events.append(self._event([choice]))
        return b"".join(events)

    def end(self, row: Any, *, missed: bool) -> bytes:
        """The last events: what was missed of the answer, its end, usage if asked for, [DONE].

        missed: frames are known to be missing; an end that was not told shows by itself.
        """
        if row.status != JobStatus.COMPLETED:
            return self.broken(refused(row))
        body = orjson.loads(row.body)
        self._head["model"] = row.model
        rest: list[bytes] = []
        # Where the last frames were missed nothing came after them to show it.
        if missed or len(self._last) < len(body["choices"]):
            missing = self._missing(body)
            if missing is None:
                return self.broken(_INTERRUPTED)
            rest = [self._event([choice]) for choice in missing]
        ours = {**promptmill_object(row), "streamed": True, "note": _STREAMED}
        rest += [self._event([choice], promptmill=ours) for choice in self._last]
        if self._include_usage:
            rest.append(self._event([], usage=body["usage"], promptmill=ours))
        return b"".join(rest) + _DONE

    def broken(self, why: Refused) -> bytes:
        """The event that ends a stream which cannot go on."""
        return b"data: %b\n\n" % orjson.dumps({"error": why.error(), **why.more})

    def _note(self, index: int, text: str) -> None:
        self._told[index] = self._told.get(index, "") + text

    def _missing(self, body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """What has not been told of an answer, or None where what was told is not its beginning."""
        missing, self._last = [], []
        for choice in body["choices"]:
            index, message = choice["index"], choice["message"]
            told = self._told.get(index, "")
            content = text_of(message.get("content"))
            if not content.startswith(told) or (self._told_calls and message.get("tool_calls")):
                return None
            delta = {name: value for name, value in message.items() if value is not None}
            delta["content"] = content[len(told) :]
            if calls := message.get("tool_calls"):
                delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
            missing.append(_choice(index, delta, None))
            self._last.append(_choice(index, {}, choice["finish_reason"]))
        return missing

    def _event(self, choices: Sequence[JsonObject], **more: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._include_usage:
            chunk["usage"] = None
        return b"data: %b\n\n" % orjson.dumps(chunk | more)


def _choice(index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


_INTERRUPTED: Final = Refused(
    500,
    "the stream was interrupted here, and the answer was begun anew: ask again",
    "stream_interrupted",
)
