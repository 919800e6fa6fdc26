"""Cohere chat, version 2."""

# ruff: noqa: ARG002 (the verbs of `Dialect` give more than this vendor needs)

from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from simulator.dialects.reading import chat_messages, model_of, refuse, table, tables, whole
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

_FINISH: Final[Mapping[Finish, str]] = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "refusal": "COMPLETE",
    "blocked": "ERROR",
    "tool": "TOOL_CALL",
}
# The template around a prompt is counted in `tokens` and never billed: a client that bills from
# there pays too much.
_TEMPLATE_TOKENS: Final = 64
_ERRORS: Final[Mapping[str, str]] = {
    "invalid_request": "invalid request",
    "unauthenticated": "invalid api token",
    "payment_required": "Please add or update your payment method to continue",
    "forbidden": "your API key may not use this endpoint",
    "not_found": "model '{model}' not found, make sure the correct model ID was used",
    "rate_limited": "You are past the per minute request limit, please wait and try again later.",
    "insufficient_quota": "You have reached the monthly limit of calls of your trial key.",
    "credit_too_low": "Please add or update your payment method to continue",
    "server_error": "internal server error",
    "unavailable": "The service is temporarily unavailable",
    "overloaded": "The service is temporarily unavailable",
    "timeout": "gateway timeout",
}


class CohereChat:
    """The dialect of `POST .../v2/chat`."""

    wire = "cohere"
    stream_type = "text/event-stream"

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a chat request. Raises Refused."""
        model = model_of(body)
        conversation = chat_messages(body)
        chosen = table(body, "response_format")
        schema = chosen.get("json_schema") or chosen.get("schema")
        return Ask(
            wire=self.wire,
            model=model,
            path=path,
            key=key_of(headers, query),
            prompt=conversation.prompt,
            text_bytes=conversation.text_bytes,
            messages=conversation.messages,
            max_tokens=whole(body, "max_tokens"),
            stream=body.get("stream") is True,
            json_mode=chosen.get("type") == "json_object",
            schema=schema if isinstance(schema, dict) else None,
            forced_tool=_forced_tool(body),
        )

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write a chat response; token counts are floats, as Cohere's are."""
        choice = reply.choices[0]
        message: Json = {"role": "assistant"}
        if choice.tool is not None:
            message["tool_plan"] = "I will call the tool."
            message["tool_calls"] = [_tool_call(choice.tool, choice.text, call_id)]
        else:
            message["content"] = [{"type": "text", "text": choice.text}] if choice.text else []
        return orjson.dumps(
            {
                "id": call_id,
                "finish_reason": _FINISH[choice.finish],
                "message": message,
                "usage": _usage(reply.usage),
            }
        )

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Write the events of a stream."""
        choice = reply.choices[0]
        start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        yield Frame(
            _event(
                "message-start", {"id": call_id, "delta": {"message": start | {"citations": []}}}
            ),
            0,
        )
        generated = 0
        name = "tool-call" if choice.tool else "content"
        yield Frame(_indexed(f"{name}-start", _opening(choice, call_id)), 0)
        for piece in pieces(choice.text):
            generated += len(piece.encode())
            message: Json = {"content": {"text": piece}}
            if choice.tool:
                message = {"tool_calls": {"function": {"arguments": piece}}}
            yield Frame(_indexed(f"{name}-delta", message), generated)
        yield Frame(_event(f"{name}-end", {"index": 0}), generated)
        ending = {"finish_reason": _FINISH[choice.finish], "usage": _usage(reply.usage)}
        yield Frame(_event("message-end", {"id": call_id, "delta": ending}), generated)

    def error(self, problem: Problem, model: str, call_id: str) -> bytes:
        """Write a message with its id."""
        message = problem.message or _ERRORS[problem.kind].format(model=model)
        if problem.retry_hint:
            message = f"{message.rstrip('.')}. Please try again in {problem.retry_hint}."
        return orjson.dumps({"id": call_id, "message": message})

    def headers(self, call_id: str, quota: Quota | None) -> dict[str, str]:
        """Write the trace id; Cohere tells no limits."""
        return {"x-debug-trace-id": call_id}


def _forced_tool(body: Json) -> Tool | None:
    if body.get("tool_choice") != "REQUIRED":
        return None
    offered = tables(body, "tools")
    if not offered:
        raise refuse("tool_choice requires tools")
    function = table(offered[0], "function")
    return Tool(str(function.get("name", "")), table(function, "parameters"))


def _tool_call(tool: Tool, arguments: str, call_id: str) -> Json:
    function = {"name": tool.name, "arguments": arguments}
    return {"id": f"{tool.name}_{call_id}", "type": "function", "function": function}


def _opening(choice: Choice, call_id: str) -> Json:
    if choice.tool is not None:
        return {"tool_calls": _tool_call(choice.tool, "", call_id)}
    return {"content": {"type": "text", "text": ""}}


def _indexed(kind: str, message: Json) -> bytes:
    return _event(kind, {"index": 0, "delta": {"message": message}})


def _event(kind: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data))


def _usage(usage: Usage) -> Json:
    return {
        "billed_units": {
            "input_tokens": float(usage.total_input),
            "output_tokens": float(usage.total_output),
        },
        "tokens": {
            "input_tokens": float(usage.total_input + _TEMPLATE_TOKENS),
            "output_tokens": float(usage.total_output),
        },
        "cached_tokens": float(usage.cached_input),
    }
