"""OpenAI chat completions, as OpenAI and the compatible hosts speak it."""

# ruff: noqa: ARG002 (the verbs of `Dialect` give more than this vendor needs)

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

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
from simulator.faults import told
from simulator.usage import Usage

_FINISH: Final[Mapping[Finish, str]] = {
    "stop": "stop",
    "length": "length",
    "refusal": "stop",
    "blocked": "content_filter",
    "tool": "tool_calls",
}
_MOST_CHOICES: Final = 128
_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."
# kind: type, code, message
_ERRORS: Final[Mapping[str, tuple[str, str | None, str]]] = {
    "invalid_request": ("invalid_request_error", None, "Invalid request."),
    "unauthenticated": (
        "invalid_request_error", "invalid_api_key", "Incorrect API key provided.",
    ),
    "payment_required": ("unknown_error", "invalid_request_error", "Insufficient Balance"),
    "forbidden": (
        "request_forbidden", "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    "not_found": (
        "invalid_request_error", "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "rate_limited": (
        "requests", "rate_limit_exceeded",
        "Rate limit reached for {model} on requests per min (RPM): Limit 500, Used 500",
    ),
    "insufficient_quota": ("insufficient_quota", "insufficient_quota", _QUOTA),
    "credit_too_low": ("insufficient_quota", "insufficient_quota", _QUOTA),
    "server_error": (
        "server_error", None, "The server had an error while processing your request. Sorry!",
    ),
    "unavailable": (
        "server_error", None, "The engine is currently overloaded, please try again later.",
    ),
    "overloaded": (
        "server_error", None, "The engine is currently overloaded, please try again later.",
    ),
    "timeout": ("server_error", None, "Request timed out."),
}  # fmt: skip


class OpenAIChat:
    """The dialect of `POST .../chat/completions`."""

    wire = "openai"
    stream_type = "text/event-stream"

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a chat completion request. Raises Refused."""
        model = model_of(body)
        conversation = chat_messages(body)
        json_mode, schema = _format(body)
        limit = whole(body, "max_completion_tokens")
        choices = whole(body, "n") or 1
        if choices > _MOST_CHOICES:
            raise refuse(f"Invalid 'n': expected at most {_MOST_CHOICES}.", "n")
        return Ask(
            wire=self.wire,
            model=model,
            path=path,
            key=key_of(headers, query),
            prompt=conversation.prompt,
            text_bytes=conversation.text_bytes,
            messages=conversation.messages,
            max_tokens=whole(body, "max_tokens") if limit is None else limit,
            stream=body.get("stream") is True,
            include_usage=table(body, "stream_options").get("include_usage") is True,
            choices=choices,
            json_mode=json_mode,
            schema=schema,
            top_logprobs=(whole(body, "top_logprobs", 0) or 0) if body.get("logprobs") else None,
            forced_tool=_forced_tool(body),
        )

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write a `chat.completion`."""
        choices = [
            {
                "index": index,
                "message": _message(ask, choice, call_id),
                "logprobs": _logprobs(ask, choice.text, unsure=reply.unsure),
                "finish_reason": _FINISH[choice.finish],
            }
            for index, choice in enumerate(reply.choices)
        ]
        return orjson.dumps(
            {
                "id": f"chatcmpl-{call_id}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": ask.model,
                "choices": choices,
                "usage": _usage(reply.usage),
                "service_tier": "default",
                "system_fingerprint": "fp_simulated",
            }
        )

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Write the chunks of a stream, the usage chunk if asked for, and [DONE]."""
        head = {
            "id": f"chatcmpl-{call_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }
        unused = {"usage": None} if ask.include_usage else {}
        generated = 0
        for index, choice in enumerate(reply.choices):
            for delta, finish, text in _deltas(ask, choice, call_id):
                generated += len(text.encode())
                part = {
                    "index": index,
                    "delta": delta,
                    "logprobs": _logprobs(ask, text, unsure=reply.unsure) if text else None,
                    "finish_reason": finish,
                }
                yield Frame(_event(head | {"choices": [part]} | unused), generated)
        if ask.include_usage:
            yield Frame(_event(head | {"choices": [], "usage": _usage(reply.usage)}), generated)
        yield Frame(b"data: [DONE]\n\n", generated)

    def error(self, problem: Problem, model: str, call_id: str) -> bytes:
        """Write an error object."""
        kind, code, usual = _ERRORS[problem.kind]
        message = problem.message or usual.format(model=model)
        if problem.retry_hint:
            message = f"{message.rstrip('.')}. Please try again in {problem.retry_hint}."
        if problem.kind == "rate_limited" and "(TPM)" in message:
            kind = "tokens"
        error = {"message": message, "type": kind, "param": problem.param, "code": code}
        return orjson.dumps({"error": error})

    def headers(self, call_id: str, quota: Quota | None) -> dict[str, str]:
        """Write request id, version and the x-ratelimit family."""
        headers = {"x-request-id": f"req_{call_id}", "openai-version": "2020-10-01"}
        if quota is not None and quota.limit_requests is not None:
            headers["x-ratelimit-limit-requests"] = str(quota.limit_requests)
            headers["x-ratelimit-remaining-requests"] = str(quota.remaining_requests)
            headers["x-ratelimit-reset-requests"] = told(quota.reset_requests_s)
        if quota is not None and quota.limit_tokens is not None:
            headers["x-ratelimit-limit-tokens"] = str(quota.limit_tokens)
            headers["x-ratelimit-remaining-tokens"] = str(quota.remaining_tokens)
            headers["x-ratelimit-reset-tokens"] = told(quota.reset_tokens_s)
        return headers


def _format(body: Json) -> tuple[bool, Json | None]:
    """Whether the answer is to be JSON, and the schema it is to fit."""
    chosen = table(body, "response_format")
    match chosen.get("type", "text"):
        case "text":
            return False, None
        case "json_object":
            return True, None
        case "json_schema":
            schema = table(chosen, "json_schema").get("schema")
            if not isinstance(schema, dict):
                name = "response_format.json_schema.schema"
                raise refuse(f"Missing required parameter: '{name}'.", name)
            return True, schema
        case other:
            raise refuse(f"Invalid value: '{other}'.", "response_format.type")


def _forced_tool(body: Json) -> Tool | None:
    functions = [table(tool, "function") for tool in tables(body, "tools")]
    chosen = body.get("tool_choice")
    if isinstance(chosen, dict):
        wanted = table(chosen, "function").get("name")
        functions = [function for function in functions if function.get("name") == wanted]
    elif chosen != "required":
        return None
    if not functions:
        raise refuse("Invalid 'tool_choice': no such tool.", "tool_choice")
    return Tool(str(functions[0].get("name", "")), table(functions[0], "parameters"))


def _message(ask: Ask, choice: Choice, call_id: str) -> Json:
    message: Json = {
        "role": "assistant",
        "content": choice.text,
        "refusal": None,
        "annotations": [],
    }
    if choice.tool is not None:
        function = {"name": choice.tool.name, "arguments": choice.text}
        call = {"id": f"call_{call_id}", "type": "function", "function": function}
        return message | {"content": None, "tool_calls": [call]}
    if choice.finish == "refusal" and ask.json_mode:  # structured answers refuse in their own field
        return message | {"content": None, "refusal": choice.text}
    return message


def _deltas(ask: Ask, choice: Choice, call_id: str) -> Iterator[tuple[Json, str | None, str]]:
    """The deltas of one choice, with the finish reason and the text each of them carries."""
    if choice.tool is not None:
        function = {"name": choice.tool.name, "arguments": ""}
        call = {"index": 0, "id": f"call_{call_id}", "type": "function", "function": function}
        yield {"role": "assistant", "content": None, "tool_calls": [call]}, None, ""
        for piece in pieces(choice.text):
            part = {"index": 0, "function": {"arguments": piece}}
            yield {"tool_calls": [part]}, None, piece
    else:
        field = "refusal" if choice.finish == "refusal" and ask.json_mode else "content"
        yield {"role": "assistant", "content": "", "refusal": None}, None, ""
        for piece in pieces(choice.text):
            yield {field: piece}, None, piece
    yield {}, _FINISH[choice.finish], ""


def _event(chunk: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.total_output,
        "total_tokens": usage.total_input + usage.total_output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _logprobs(ask: Ask, text: str, *, unsure: bool) -> Any:
    """Log-probabilities of tokens of four characters: near zero, or low for a weak answer."""
    if ask.top_logprobs is None:
        return None
    low = -2.5 if unsure else -0.02
    content = []
    for number, start in enumerate(range(0, len(text), 4)):
        token = text[start : start + 4]
        logprob = low * (1 + (ask.seed >> number % 32) % 5)
        entry: Json = {
            "token": token,
            "logprob": logprob,
            "bytes": list(token.encode()),
        }
        others = [
            {
                "token": token[::-1] + "?" * rank,
                "logprob": logprob - 1 - rank,
                "bytes": None,
            }
            for rank in range(ask.top_logprobs - 1)
        ]
        content.append(entry | {"top_logprobs": [entry, *others] if ask.top_logprobs else []})
    return {"content": content, "refusal": None}
