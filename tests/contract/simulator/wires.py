"""The four wires as a client sees them: how to ask, and how to read text and usage."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]


@dataclass(frozen=True)
class Billed:
    """Disjoint counts, read from what the provider reported."""

    fresh: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0


@dataclass(frozen=True)
class Wire:
    name: str
    paths: tuple[str, str]  # of a plain answer and of a stream
    body: Callable[..., Json]
    headers: dict[str, str]
    text: Callable[[Json], str]
    usage: Callable[[Json], Billed]
    finish: Callable[[Json], str]
    error_message: Callable[[Json], str]

    def path(self, model: str, *, stream: bool = False) -> str:
        return self.paths[stream].format(model=model)

    def post(
        self,
        client: httpx.Client,
        prompt: str = "What is 17*23?",
        *,
        model: str = "tiny",
        max_tokens: int = 400,
        stream: bool = False,
        **extra: Any,
    ) -> httpx.Response:
        return client.post(
            self.path(model, stream=stream),
            json=self.body(model, prompt, max_tokens, stream=stream) | extra,
            headers=self.headers,
        )


def events(text: str) -> Iterator[Json]:
    for line in text.splitlines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def _chat(model: str, prompt: str, max_tokens: int, *, stream: bool = False) -> Json:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_tokens": max_tokens, "stream": stream}


def _openai_body(model: str, prompt: str, max_tokens: int, *, stream: bool = False) -> Json:
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return _chat(model, prompt, max_tokens, stream=stream) | options


def _gemini_body(_: str, prompt: str, max_tokens: int, **__: bool) -> Json:
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": max_tokens}}


def _openai_usage(answer: Json) -> Billed:
    usage = answer["usage"]
    details = usage["prompt_tokens_details"]
    cached, written = details["cached_tokens"], details["cache_write_tokens"]
    fresh = usage["prompt_tokens"] - cached - written
    return Billed(fresh, cached, written, usage["completion_tokens"])


def _anthropic_usage(answer: Json) -> Billed:
    usage = answer["usage"]
    cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    return Billed(usage["input_tokens"], cached, written, usage["output_tokens"])


def _gemini_usage(answer: Json) -> Billed:
    usage = answer["usageMetadata"]
    cached = usage.get("cachedContentTokenCount", 0)
    output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    return Billed(usage["promptTokenCount"] - cached, cached, 0, output)


def _cohere_usage(answer: Json) -> Billed:
    units = answer["usage"]["billed_units"]
    return Billed(int(units["input_tokens"]), 0, 0, int(units["output_tokens"]))


OPENAI = Wire(
    "openai",
    ("/groq/openai/v1/chat/completions",) * 2,
    _openai_body,
    {"authorization": "Bearer sk-test-abcd"},
    lambda answer: answer["choices"][0]["message"]["content"],
    _openai_usage,
    lambda answer: answer["choices"][0]["finish_reason"],
    lambda body: body["error"]["message"],
)
ANTHROPIC = Wire(
    "anthropic",
    ("/anthropic/v1/messages",) * 2,
    _chat,
    {"x-api-key": "sk-test-abcd", "anthropic-version": "2026-10-21"},
    lambda answer: "".join(block["text"] for block in answer["content"]),
    _anthropic_usage,
    lambda answer: answer["stop_reason"],
    lambda body: body["error"]["message"],
)
GEMINI = Wire(
    "gemini",
    (
        "/v1beta/models/{model}:generateContent",
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    ),
    _gemini_body,
    {"x-goog-api-key": "sk-test-abcd"},
    lambda answer: "".join(
        part["text"] for part in answer["candidates"][0]["content"].get("parts", [])
    ),
    _gemini_usage,
    lambda answer: answer["candidates"][0]["finishReason"],
    lambda body: body["error"]["message"],
)
COHERE = Wire(
    "cohere",
    ("/cohere/v2/chat",) * 2,
    _chat,
    {"authorization": "Bearer sk-test-abcd"},
    lambda answer: "".join(part["text"] for part in answer["message"]["content"]),
    _cohere_usage,
    lambda answer: answer["finish_reason"],
    lambda body: body["message"],
)
WIRES = (OPENAI, ANTHROPIC, GEMINI, COHERE)


def streamed(wire: Wire, text: str) -> tuple[str, Billed]:
    """A stream's whole text and the usage it ended with."""
    parts = list(events(text))
    match wire.name:
        case "openai":
            assert text.endswith("data: [DONE]\n\n")
            assert parts[-1]["choices"] == []
            assert all(part["usage"] is None for part in parts[:-1])
            deltas = (part["choices"][0]["delta"] for part in parts[:-1])
            return "".join(d.get("content") or "" for d in deltas), wire.usage(parts[-1])
        case "anthropic":
            kinds = list(dict.fromkeys(part["type"] for part in parts))
            assert kinds == [
                "message_start", "content_block_start", "ping", "content_block_delta",
                "content_block_stop", "message_delta", "message_stop",
            ]  # fmt: skip
            deltas = (part["delta"]["text"] for part in parts if "text" in part.get("delta", {}))
            return "".join(deltas), wire.usage(parts[-2])
        case "gemini":
            assert parts[-1]["candidates"][0]["finishReason"] == "STOP"
            return "".join(wire.text(part) for part in parts), wire.usage(parts[-1])
        case _:
            assert parts[0]["type"] == "message-start"
            assert parts[-1]["type"] == "message-end"
            deltas = (p["delta"]["message"] for p in parts if p["type"] == "content-delta")
            text = "".join(delta["content"]["text"] for delta in deltas)
            return text, wire.usage(parts[-1]["delta"])


def bill_when(client: httpx.Client, condition: Callable[[Json], bool]) -> Json:
    """The bill as soon as it is so; what a client left behind is billed a moment later."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        bill: Json = client.get("/_simulator/bill").json()
        if condition(bill):
            return bill
        time.sleep(0.02)
    raise AssertionError(bill)
