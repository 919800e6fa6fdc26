"""Gemini generateContent and its stream, under v1 and v1beta."""

# ruff: noqa: ARG002 (the verbs of `Dialect` give more than this vendor needs)

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from simulator.dialects.reading import Conversation, refuse, table, tables, text_of, whole
from simulator.exchange import (
    Ask,
    Choice,
    Finish,
    Frame,
    Json,
    Problem,
    Quota,
    Reply,
    Tool,
    key_of,
    pieces,
)
from simulator.usage import Usage

PATH: Final = re.compile(r"/v1(?:beta)?/models/(.+):(generateContent|streamGenerateContent)$")

_FINISH: Final[Mapping[Finish, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "refusal": "SAFETY",
    "blocked": "SAFETY",
    "tool": "STOP",
}
_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."
_METRIC: Final = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
# kind: status, message
_ERRORS: Final[Mapping[str, tuple[str, str]]] = {
    "invalid_request": ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    "unauthenticated": ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "payment_required": ("FAILED_PRECONDITION", "Billing is not active for this project."),
    "forbidden": ("PERMISSION_DENIED", "The caller does not have permission"),
    "not_found": ("NOT_FOUND", "models/{model} is not found for this API version."),
    "rate_limited": ("RESOURCE_EXHAUSTED", _QUOTA),
    "insufficient_quota": (
        "RESOURCE_EXHAUSTED",
        f"{_QUOTA}\n* Quota exceeded for metric: {_METRIC}, limit: 0, model: {{model}}",
    ),
    "credit_too_low": ("FAILED_PRECONDITION", "Your prepayment credits are depleted."),
    "server_error": ("INTERNAL", "An internal error has occurred."),
    "unavailable": ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    "overloaded": ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    "timeout": ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


class GeminiContent:
    """The dialect of `POST .../models/{model}:generateContent` and `:streamGenerateContent`."""

    wire = "gemini"
    stream_type = "text/event-stream"

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a generateContent request; the model stands in the path. Raises Refused."""
        found = PATH.search(path)
        if found is None:
            raise refuse("no model in the path")
        stream = found[2] == "streamGenerateContent"
        if stream and "alt=sse" not in query.split("&"):
            raise refuse("The simulator streams with alt=sse only.")
        conversation = _conversation(body)
        config = table(body, "generationConfig")
        schema = config.get("responseJsonSchema") or config.get("responseSchema")
        return Ask(
            wire=self.wire,
            model=found[1],
            path=path,
            key=key_of(headers, query),
            prompt=conversation.prompt,
            text_bytes=conversation.text_bytes,
            messages=conversation.messages,
            max_tokens=whole(config, "maxOutputTokens"),
            stream=stream,
            choices=whole(config, "candidateCount") or 1,
            json_mode=config.get("responseMimeType") == "application/json",
            schema=schema if isinstance(schema, dict) else None,
            forced_tool=_forced_tool(body),
        )

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write a GenerateContentResponse; a blocked prompt has no candidates."""
        envelope = _envelope(ask, reply.usage, call_id)
        if reply.choices[0].finish == "blocked":
            return orjson.dumps(envelope | {"promptFeedback": {"blockReason": "SAFETY"}})
        candidates = [
            _candidate(index, _parts(choice, choice.text), _FINISH[choice.finish])
            for index, choice in enumerate(reply.choices)
        ]
        return orjson.dumps({"candidates": candidates} | envelope)

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Write the chunks of a stream: each a whole response, the last with the finish reason."""
        envelope = _envelope(ask, reply.usage, call_id)
        if reply.choices[0].finish == "blocked":
            yield Frame(_event(envelope | {"promptFeedback": {"blockReason": "SAFETY"}}), 0)
            return
        early = envelope | {"usageMetadata": {"promptTokenCount": reply.usage.total_input}}
        generated = 0
        for index, choice in enumerate(reply.choices):
            texts = [choice.text] if choice.tool else list(pieces(choice.text))
            for text in texts:
                generated += len(text.encode())
                candidate = _candidate(index, _parts(choice, text), None)
                yield Frame(_event({"candidates": [candidate]} | early), generated)
        last = [
            _candidate(index, [{"text": ""}] if choice.finish == "stop" else [], finish)
            for index, choice in enumerate(reply.choices)
            for finish in (_FINISH[choice.finish],)
        ]
        yield Frame(_event({"candidates": last} | envelope), generated)

    def error(self, problem: Problem, model: str, call_id: str) -> bytes:
        """Write a google.rpc status with its details."""
        status, usual = _ERRORS[problem.kind]
        message = problem.message or usual.format(model=model)
        if problem.retry_hint:
            message = f"{message.rstrip('.')}. Please retry in {problem.retry_hint}."
        details = _details(problem, model)
        error: Json = {"code": problem.status, "message": message, "status": status}
        return orjson.dumps({"error": error | ({"details": details} if details else {})})

    def headers(self, call_id: str, quota: Quota | None) -> dict[str, str]:
        """Write what Gemini sends: no request id of note, no rate-limit headers."""
        return {"server-timing": "gfet4t7; dur=1"}


def _conversation(body: Json) -> Conversation:
    contents = tables(body, "contents")
    if not contents:
        raise refuse("* GenerateContentRequest.contents: contents is not specified")
    conversation = Conversation()
    for content in contents:
        text = text_of(content.get("parts"), "contents.parts")
        conversation.add(text, from_user=content.get("role", "user") == "user")
    if system := text_of(table(body, "systemInstruction").get("parts"), "systemInstruction"):
        conversation.add(system, from_user=False)
    return conversation


def _forced_tool(body: Json) -> Tool | None:
    config = table(table(body, "toolConfig"), "functionCallingConfig")
    if config.get("mode") != "ANY":
        return None
    allowed = config.get("allowedFunctionNames")
    for tool in tables(body, "tools"):
        for function in tables(tool, "functionDeclarations"):
            if not allowed or function.get("name") in allowed:
                schema = table(function, "parametersJsonSchema") or table(function, "parameters")
                return Tool(str(function.get("name", "")), schema)
    raise refuse("Function calling mode is ANY, but no function is declared.")


def _envelope(ask: Ask, usage: Usage, call_id: str) -> Json:
    return {"usageMetadata": _usage(usage), "modelVersion": ask.model, "responseId": call_id}


def _parts(choice: Choice, text: str) -> list[Json]:
    if choice.finish == "refusal" or not text:
        return []
    if choice.tool is not None:
        return [{"functionCall": {"name": choice.tool.name, "args": orjson.loads(text)}}]
    return [{"text": text}]


def _candidate(index: int, parts: list[Json], finish: str | None) -> Json:
    content: Json = {"role": "model"}
    if parts:
        content["parts"] = parts  # the field is absent when nothing was generated
    candidate: Json = {"content": content, "index": index}
    return candidate | ({"finishReason": finish, "safetyRatings": []} if finish else {})


def _event(chunk: Json) -> bytes:
    return b"data: %b\r\n\r\n" % orjson.dumps(chunk)


def _usage(usage: Usage) -> Json:
    """Thoughts are billed as output and are not inside the candidates' count."""
    shown: Json = {
        "promptTokenCount": usage.total_input,
        "totalTokenCount": usage.total_input + usage.total_output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.total_input}],
    }
    for name, count in (
        ("candidatesTokenCount", usage.visible_output),
        ("thoughtsTokenCount", usage.reasoning),
        ("cachedContentTokenCount", usage.cached_input),
    ):
        if count:
            shown[name] = count
    return shown


def _details(problem: Problem, model: str) -> list[Json]:
    details: list[Json] = []
    if problem.kind in ("rate_limited", "insufficient_quota"):
        violation: dict[str, Any] = {
            "quotaMetric": _METRIC,
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": model},
        }
        kind = "type.googleapis.com/google.rpc.QuotaFailure"
        details.append({"@type": kind, "violations": [violation]})
    if problem.retry_info_s is not None:
        delay = f"{problem.retry_info_s:.3f}".rstrip("0").rstrip(".")
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": f"{delay}s"})
    return details
