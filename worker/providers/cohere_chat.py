"""The Cohere wire (`/v2/chat`): near to OpenAI's in its messages, its own in the rest.

Its bill goes by `usage.billed_units`. ERROR and TIMEOUT arrive as finish reasons with HTTP 200.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, FinishReason, Request, Usage
from worker.providers.base import KEYLESS, EncodedCall
from worker.providers.completions import (
    MOST_TOKENS,
    Choice,
    Foreign,
    completion_of,
    failed_answer,
    mean_of,
    read_answer,
    read_usage,
    unknown_answer,
)
from worker.providers.error_table import classify
from worker.providers.errors import ProviderError
from worker.providers.json_body import parse_answer
from worker.providers.messages import (
    Tool,
    ToolCall,
    Turn,
    dump,
    forced_tool,
    sampling_of,
    schema_of,
    stop_of,
    tools_of,
    turns_of,
    unknown_to,
)

_PARAMS: Final = {
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logprobs": "logprobs",
    "safety_mode": "safety_mode",
    "thinking": "thinking",
}
_KNOWN: Final = frozenset({*_PARAMS, "stop", "tools", "tool_choice"})
_CHOICE: Final = {"required": "REQUIRED", "none": "NONE"}
# Cohere's 498 is an invalid token; elsewhere it means no capacity.
_KEY_REFUSED: Final = frozenset({401, 402, 498})
FINISH: Final[Mapping[str, FinishReason]] = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
    "ERROR": FinishReason.ERROR,
    "TIMEOUT": FinishReason.ERROR,
}
_Units = Annotated[float, Field(ge=0, le=MOST_TOKENS, allow_inf_nan=False)]


class _Counts(Foreign):
    input_tokens: _Units | None = None
    output_tokens: _Units | None = None


class _Usage(Foreign):
    billed_units: _Counts | None = None
    tokens: _Counts | None = None


class _Part(Foreign):
    type: str
    text: str = ""


class _Function(Foreign):
    name: str
    arguments: str | None = None


class _Call(Foreign):
    id: str = ""
    function: _Function


class _Message(Foreign):
    content: list[_Part] | str | None = None
    tool_calls: list[_Call] | None = None


class _Logprobs(Foreign):
    logprobs: list[float] | None = None


class _Answer(Foreign):
    id: str = ""
    finish_reason: str
    message: _Message
    logprobs: list[_Logprobs] | None = None


class CohereChat:
    """The wire; see `base.Wire` for the contract."""

    def encode(
        self, model: ModelSpec, provider: ProviderSpec, request: Request, max_tokens: int
    ) -> EncodedCall:
        """The request in Cohere's words."""
        turns = turns_of(request.messages)
        given, warnings = sampling_of(model, provider, request)
        body: dict[str, Any] = {
            "model": model.upstream,
            "messages": [_message(turn) for turn in turns],
            "max_tokens": max_tokens,
            "stream": request.stream,
            **{t: given[n] for n, t in _PARAMS.items() if given.get(n) is not None},
            **_tools(given),
        }
        if stop_of(given):
            body["stop_sequences"] = stop_of(given)
        if request.wants_json:
            schema = schema_of(request)
            fitting = {"json_schema": schema} if schema is not None else {}
            body["response_format"] = {"type": "json_object", **fitting}
        warnings += unknown_to("Cohere", given, _KNOWN)
        return EncodedCall("/v2/chat", dump(body), warnings=tuple(warnings), streams=request.stream)

    def auth_headers(self, key: str) -> dict[str, str]:
        """A bearer token."""
        return {} if key in KEYLESS else {"authorization": f"Bearer {key}"}

    def decode(self, body: bytes) -> Completion:
        """The message: its text parts joined, its thinking left out."""
        answer = parse_answer(body)
        usage = usage_of(answer.get("usage"))
        parsed = read_answer(_Answer, answer, usage, "the answer is no chat message")
        reason = FINISH.get(parsed.finish_reason)
        if reason is None:
            raise unknown_answer(f"unknown finish_reason {parsed.finish_reason!r:.40}", usage)
        if reason is FinishReason.ERROR:
            raise failed_answer(f"finish_reason {parsed.finish_reason}", usage)
        calls = [
            ToolCall(call.id, call.function.name, call.function.arguments or "{}")
            for call in parsed.message.tool_calls or ()
        ]
        choice = Choice(_text_of(parsed.message.content), reason, calls)
        values = [value for part in parsed.logprobs or () for value in part.logprobs or ()]
        return completion_of(parsed.id, "", [choice], usage, mean_logprob=mean_of(values))

    def classify_error(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """By the common table, but for 498."""
        return classify(status, headers, body, now, key_refused=_KEY_REFUSED)


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role}
    if turn.text or not turn.tool_calls:
        message["content"] = turn.text
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.tool_calls
        ]
    if turn.role == "tool":
        message["tool_call_id"] = turn.tool_call_id
    return message


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    """Cohere cannot force one tool by name: only that one is offered then, and required."""
    tools: Sequence[Tool] = tools_of(given)
    wanted = given.get("tool_choice")
    choice = _CHOICE.get(wanted) if isinstance(wanted, str) else None
    if forced := forced_tool(wanted):
        tools = [tool for tool in tools if tool.name == forced]
        choice = "REQUIRED"
    if not tools:
        return {}
    described = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "parameters": tool.parameters,
                **({"description": tool.description} if tool.description else {}),
            },
        }
        for tool in tools
    ]
    return {"tools": described, **({"tool_choice": choice} if choice else {})}


def usage_of(raw: Any) -> Usage | None:
    """The usage in this wire's words; None where there is none. Raises MaybeBilled for an
    unreadable one.
    """
    if not isinstance(raw, dict):
        return None
    usage = read_usage(_Usage, raw)
    counts = usage.billed_units or usage.tokens
    if counts is None or (counts.input_tokens is None and counts.output_tokens is None):
        return None
    return Usage(
        input_tokens=math.ceil(counts.input_tokens or 0),
        output_tokens=math.ceil(counts.output_tokens or 0),
    )


def _text_of(content: Sequence[_Part] | str | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content if part.type == "text")
