"""Anthropic Messages, in both API versions: 2023-06-01 and 2026-10-21."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import orjson

from simulator.dialects.reading import (
    chat_messages,
    model_of,
    refuse,
    table,
    tables,
    text_of,
    whole,
)
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

_VERSIONS: Final = ("2023-06-01", "2026-10-21")
_REFUSED_SINCE: Final = {"2026-10-21": ("temperature", "top_p", "top_k")}
_STOP: Final[Mapping[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "refusal": "refusal",
    "blocked": "refusal",
    "tool": "tool_use",
}
_CREDIT: Final = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
    "upgrade or purchase credits."
)
# kind: type, message
_ERRORS: Final[Mapping[str, tuple[str, str]]] = {
    "invalid_request": ("invalid_request_error", "Invalid request."),
    "unauthenticated": ("authentication_error", "invalid x-api-key"),
    "payment_required": ("billing_error", "There is a problem with your billing."),
    "forbidden": ("permission_error", "Your API key may not use this resource."),
    "not_found": ("not_found_error", "model: {model}"),
    "rate_limited": ("rate_limit_error", "This request would exceed your rate limit."),
    "insufficient_quota": ("rate_limit_error", "You have reached your specified spend limit."),
    "credit_too_low": ("invalid_request_error", _CREDIT),
    "server_error": ("api_error", "Internal server error"),
    "unavailable": ("api_error", "Service unavailable"),
    "overloaded": ("overloaded_error", "Overloaded"),
    "timeout": ("timeout_error", "Request timed out."),
}


class AnthropicMessages:
    """The dialect of `POST .../v1/messages`."""

    wire = "anthropic"
    stream_type = "text/event-stream"

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a messages request. Raises Refused."""
        _check_version(headers.get("anthropic-version"), body)
        model = model_of(body)
        limit = whole(body, "max_tokens", 0)
        if limit is None:
            raise refuse("max_tokens: Field required")
        conversation = chat_messages(body)
        if system := text_of(body.get("system"), "system"):
            conversation.add(system, from_user=False)
        chosen = table(table(body, "output_config"), "format")
        schema = table(chosen, "schema") if chosen.get("type") == "json_schema" else None
        return Ask(
            wire=self.wire,
            model=model,
            path=path,
            key=key_of(headers, query),
            prompt=conversation.prompt,
            text_bytes=conversation.text_bytes,
            messages=conversation.messages,
            max_tokens=limit,
            stream=body.get("stream") is True,
            json_mode=schema is not None,
            schema=schema,
            forced_tool=_forced_tool(body),
        )

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write a `message`."""
        choice = reply.choices[0]
        blocks = [_block(choice, call_id, choice.text)] if choice.text else []
        return orjson.dumps(_envelope(ask, call_id, blocks, _usage(reply.usage)) | _stop(choice))

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Write the events of a stream. Usage in message_delta is cumulative."""
        choice = reply.choices[0]
        opening = _usage(reply.usage) | {"output_tokens": 0}
        message = _envelope(ask, call_id, [], opening) | _stop(None)
        yield Frame(_event("message_start", {"message": message}), 0)
        block = _block(choice, call_id, "")
        yield Frame(_event("content_block_start", {"index": 0, "content_block": block}), 0)
        yield Frame(_event("ping", {}), 0)
        kind, field = (
            ("input_json_delta", "partial_json") if choice.tool else ("text_delta", "text")
        )
        generated = 0
        for piece in pieces(choice.text):
            generated += len(piece.encode())
            delta = {"type": kind, field: piece}
            yield Frame(_event("content_block_delta", {"index": 0, "delta": delta}), generated)
        yield Frame(_event("content_block_stop", {"index": 0}), generated)
        ending = {"delta": _stop(choice), "usage": _usage(reply.usage)}
        yield Frame(_event("message_delta", ending), generated)
        yield Frame(_event("message_stop", {}), generated)

    def error(self, problem: Problem, model: str, call_id: str) -> bytes:
        """Write an error with its request id."""
        kind, usual = _ERRORS[problem.kind]
        message = problem.message or usual.format(model=model)
        if problem.retry_hint:
            message = f"{message.rstrip('.')}. Please try again in {problem.retry_hint}."
        error: Json = {"type": kind, "message": message}
        if problem.kind == "insufficient_quota":
            error["details"] = {"error_code": "enforced_spend_limit_reached"}
        return orjson.dumps({"type": "error", "error": error, "request_id": f"req_{call_id}"})

    def headers(self, call_id: str, quota: Quota | None) -> dict[str, str]:
        """Write request id and the anthropic-ratelimit family, resets as RFC 3339."""
        headers = {"request-id": f"req_{call_id}"}
        if quota is None:
            return headers
        for name, limit, remaining, reset_s in (
            ("requests", quota.limit_requests, quota.remaining_requests, quota.reset_requests_s),
            ("tokens", quota.limit_tokens, quota.remaining_tokens, quota.reset_tokens_s),
        ):
            if limit is not None:
                moment = datetime.fromtimestamp(time.time() + reset_s, UTC)
                headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
                headers[f"anthropic-ratelimit-{name}-remaining"] = str(remaining)
                headers[f"anthropic-ratelimit-{name}-reset"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        return headers


def _check_version(version: str | None, body: Json) -> None:
    if version is None:
        raise refuse("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise refuse(f'anthropic-version: "{version}" is not a valid version')
    for name in _REFUSED_SINCE.get(version, ()):
        if name in body:
            raise refuse(f"{name}: Extra inputs are not permitted")


def _forced_tool(body: Json) -> Tool | None:
    chosen = table(body, "tool_choice")
    offered = tables(body, "tools")
    if chosen.get("type") == "tool":
        offered = [tool for tool in offered if tool.get("name") == chosen.get("name")]
    elif chosen.get("type") != "any":
        return None
    if not offered:
        raise refuse("tool_choice: no such tool")
    return Tool(str(offered[0].get("name", "")), table(offered[0], "input_schema"))


def _envelope(ask: Ask, call_id: str, blocks: list[Json], usage: Json) -> Json:
    return {
        "id": f"msg_{call_id}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": blocks,
        "usage": usage,
    }


def _stop(choice: Choice | None) -> Json:
    reason = None if choice is None else _STOP[choice.finish]
    details = None
    if reason == "refusal":
        details = {"type": "refusal", "category": None, "explanation": "Simulated refusal."}
    return {"stop_reason": reason, "stop_sequence": None, "stop_details": details}


def _block(choice: Choice, call_id: str, text: str) -> Json:
    if choice.tool is not None:
        arguments = orjson.loads(text) if text else {}
        return {
            "type": "tool_use",
            "id": f"toolu_{call_id}",
            "name": choice.tool.name,
            "input": arguments,
        }
    return {"type": "text", "text": text, "citations": None}


def _event(kind: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data))


def _usage(usage: Usage) -> Json:
    """Input, cache reads and cache writes are disjoint here."""
    return {
        "input_tokens": usage.fresh_input,
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage.total_output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "server_tool_use": None,
        "service_tier": "standard",
    }
