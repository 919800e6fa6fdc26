"""The Anthropic wire (`/v1/messages`).

API version 2026-10-21 refuses temperature, top_p and top_k even at their defaults; a request that
asks for one is pinned to 2023-06-01, which goes on being served.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from pydantic import Field

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, FinishReason, Request, Usage
from worker.providers.base import KEYLESS, EncodedCall
from worker.providers.completions import (
    MOST_TOKENS,
    Choice,
    Foreign,
    Tokens,
    completion_of,
    read_answer,
    read_usage,
    unknown_answer,
)
from worker.providers.error_table import classify
from worker.providers.errors import ProviderError
from worker.providers.json_body import parse_answer
from worker.providers.messages import (
    ToolCall,
    Turn,
    dump,
    forced_tool,
    sampling_of,
    schema_of,
    stop_of,
    system_text,
    tools_of,
    turns_of,
    unknown_to,
)

VERSION: Final = "2026-10-21"
VERSION_WITH_SAMPLING: Final = "2023-06-01"
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_KNOWN: Final = frozenset(
    {*_SAMPLING, "stop", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "user"}
)
_EFFORT: Final = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high",
    "xhigh": "max", "max": "max",
}  # fmt: skip
_CHOICE: Final = {"auto": "auto", "required": "any", "none": "none"}
_JSON_ONLY: Final = "Answer with one valid JSON object and nothing else: no prose, no code fence."
FINISH: Final[Mapping[str | None, FinishReason]] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "pause_turn": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


class _CacheCreation(Foreign):
    ephemeral_1h_input_tokens: Tokens = 0


class _OutputDetails(Foreign):
    thinking_tokens: Tokens = 0


class _Usage(Foreign):
    input_tokens: int = Field(ge=0, le=MOST_TOKENS)
    output_tokens: int = Field(ge=0, le=MOST_TOKENS)
    cache_creation_input_tokens: Tokens = 0
    cache_read_input_tokens: Tokens = 0
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(Foreign):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)


class _StopDetails(Foreign):
    explanation: str | None = None
    category: str | None = None


class _Answer(Foreign):
    id: str = ""
    model: str = ""
    content: list[_Block]
    stop_reason: str | None
    stop_details: _StopDetails | None = None


class AnthropicMessages:
    """The wire; see `base.Wire` for the contract."""

    def encode(
        self, model: ModelSpec, provider: ProviderSpec, request: Request, max_tokens: int
    ) -> EncodedCall:
        """The request in Anthropic's words."""
        turns = turns_of(request.messages)
        given, warnings = sampling_of(model, provider, request)
        system = system_text(turns)
        messages = _messages(turns)
        if not messages:
            messages, system = [{"role": "user", "content": system}], ""
        if request.wants_json and schema_of(request) is None:
            system = f"{system}\n\n{_JSON_ONLY}".strip()
        body: dict[str, Any] = {
            "model": model.upstream,
            "max_tokens": max_tokens,
            "messages": messages,
            **_sampling(given, warnings),
            **_tools(given),
        }
        if request.stream:
            body["stream"] = True
        if system:
            body["system"] = system
        if stop_of(given):
            body["stop_sequences"] = stop_of(given)
        if isinstance(given.get("user"), str):
            body["metadata"] = {"user_id": given["user"]}
        if output := _output_config(request, given, warnings):
            body["output_config"] = output
        warnings += unknown_to("Anthropic", given, _KNOWN)
        has_sampling = any(name in body for name in _SAMPLING)
        version = VERSION_WITH_SAMPLING if has_sampling else VERSION
        headers = {"anthropic-version": version}
        return EncodedCall("/v1/messages", dump(body), headers, tuple(warnings), request.stream)

    def auth_headers(self, key: str) -> dict[str, str]:
        """The header that both API versions take, and that wins where both are sent."""
        return {} if key in KEYLESS else {"x-api-key": key}

    def decode(self, body: bytes) -> Completion:
        """The message: its text blocks joined, its tool uses as calls, its thinking left out."""
        answer = parse_answer(body)
        usage = usage_of(answer.get("usage"))
        parsed = read_answer(_Answer, answer, usage, "the answer is no message")
        reason = FINISH.get(parsed.stop_reason)
        if reason is None:
            raise unknown_answer(f"unknown stop_reason {parsed.stop_reason!r:.40}", usage)
        choice = Choice(
            text="".join(block.text for block in parsed.content if block.type == "text"),
            finish_reason=reason,
            tool_calls=[
                ToolCall(block.id, block.name, orjson.dumps(block.input).decode())
                for block in parsed.content
                if block.type == "tool_use"
            ],
            refusal=_refusal_of(parsed) if reason is FinishReason.CONTENT_FILTER else None,
        )
        return completion_of(parsed.id, parsed.model, [choice], usage)

    def classify_error(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """By the common table."""
        return classify(status, headers, body, now)


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """User and assistant messages; tool results in a row share one user message."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        match turn.role:
            case "user":
                messages.append({"role": "user", "content": turn.text})
            case "assistant":
                messages.append({"role": "assistant", "content": _assistant(turn)})
            case "tool":
                result = {
                    "type": "tool_result",
                    "tool_use_id": turn.tool_call_id,
                    "content": turn.text,
                }
                if messages and _holds_results(messages[-1]):
                    messages[-1]["content"].append(result)
                else:
                    messages.append({"role": "user", "content": [result]})
            case _:
                pass  # system: a field of its own
    return messages


def _holds_results(message: Mapping[str, Any]) -> bool:
    return message["role"] == "user" and isinstance(message["content"], list)


def _assistant(turn: Turn) -> str | list[dict[str, Any]]:
    if not turn.tool_calls:
        return turn.text
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parsed()}
        for call in turn.tool_calls
    ]
    return [*text, *calls]


def _sampling(given: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    sampling = {name: given[name] for name in _SAMPLING if given.get(name) is not None}
    temperature = sampling.get("temperature")
    if isinstance(temperature, int | float) and temperature > 1:
        sampling["temperature"] = 1.0
        warnings.append("temperature was lowered to 1: Anthropic takes 0 to 1")
    return sampling


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    tools = tools_of(given)
    if not tools:
        return {}
    described = []
    for tool in tools:
        entry: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
        if tool.description:
            entry["description"] = tool.description
        if tool.strict is not None:
            entry["strict"] = tool.strict
        described.append(entry)
    wanted = given.get("tool_choice")
    forced = forced_tool(wanted)
    choice: dict[str, Any] = {"type": "tool", "name": forced} if forced else {}
    if isinstance(wanted, str) and wanted in _CHOICE:
        choice = {"type": _CHOICE[wanted]}
    if given.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": described, **({"tool_choice": choice} if choice else {})}


def _output_config(
    request: Request, given: Mapping[str, Any], warnings: list[str]
) -> dict[str, Any]:
    config: dict[str, Any] = {}
    schema = schema_of(request)
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    effort = given.get("reasoning_effort")
    if effort in _EFFORT:
        config["effort"] = _EFFORT[effort]
    elif effort is not None:
        warnings.append("reasoning_effort was left out: Anthropic has no such level")
    return config


def usage_of(raw: Any) -> Usage | None:
    """The usage in this wire's words; None where there is none. Raises MaybeBilled for an
    unreadable one.
    """
    if not isinstance(raw, dict):
        return None
    usage = read_usage(_Usage, raw)
    written_1h = (usage.cache_creation or _CacheCreation()).ephemeral_1h_input_tokens
    written = max(usage.cache_creation_input_tokens - written_1h, 0)
    thinking = (usage.output_tokens_details or _OutputDetails()).thinking_tokens
    return Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cache_read_input_tokens,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=usage.output_tokens,
        reasoning_tokens=min(thinking, usage.output_tokens),
    )


def _refusal_of(parsed: _Answer) -> str:
    details = parsed.stop_details or _StopDetails()
    return details.explanation or details.category or "the model refused"
