"""The Gemini wire (`/v1/models/{model}:generateContent`).

The path is `v1`: Google's own SDK uses it by default and it takes `responseJsonSchema`, so nothing
here needs `v1beta`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from pydantic import Field

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, FinishReason, Request, Usage
from worker.providers.base import KEYLESS, EncodedCall
from worker.providers.completions import (
    Choice,
    Foreign,
    Tokens,
    completion_of,
    failed_answer,
    read_answer,
    read_usage,
    unknown_answer,
)
from worker.providers.error_table import classify
from worker.providers.errors import ProviderError
from worker.providers.json_body import garbage, parse_answer
from worker.providers.messages import (
    ToolCall,
    Turn,
    dump,
    forced_tool,
    names_of_calls,
    sampling_of,
    schema_of,
    stop_of,
    system_text,
    tools_of,
    turns_of,
    unknown_to,
)

_CONFIG: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_KNOWN: Final = frozenset({*_CONFIG, "stop", "tools", "tool_choice", "reasoning_effort"})
_LEVELS: Final = frozenset({"minimal", "low", "medium", "high"})
_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
FINISH: Final[Mapping[str | None, FinishReason]] = {
    "STOP": FinishReason.STOP,
    None: FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "OTHER": FinishReason.ERROR,
    "FINISH_REASON_UNSPECIFIED": FinishReason.ERROR,
    "MALFORMED_FUNCTION_CALL": FinishReason.ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.ERROR,
    "MALFORMED_RESPONSE": FinishReason.ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.ERROR,
}


class _Usage(Foreign):
    promptTokenCount: Tokens = 0  # noqa: N815 - Google's names, here and below
    candidatesTokenCount: Tokens = 0  # noqa: N815
    thoughtsTokenCount: Tokens = 0  # noqa: N815
    cachedContentTokenCount: Tokens = 0  # noqa: N815
    toolUsePromptTokenCount: Tokens = 0  # noqa: N815


class _FunctionCall(Foreign):
    id: str | None = None
    name: str
    args: dict[str, Any] | None = None


class _Part(Foreign):
    text: str | None = None
    thought: bool = False
    functionCall: _FunctionCall | None = None  # noqa: N815


class _Content(Foreign):
    parts: list[_Part] | None = None


class _Candidate(Foreign):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815
    avgLogprobs: float | None = None  # noqa: N815


class _Feedback(Foreign):
    blockReason: str | None = None  # noqa: N815


class _Answer(Foreign):
    candidates: list[_Candidate] = Field(default_factory=list)
    promptFeedback: _Feedback | None = None  # noqa: N815
    modelVersion: str = ""  # noqa: N815
    responseId: str = ""  # noqa: N815


class GeminiContent:
    """The wire; see `base.Wire` for the contract."""

    def encode(
        self, model: ModelSpec, provider: ProviderSpec, request: Request, max_tokens: int
    ) -> EncodedCall:
        """The request in Google's words."""
        turns = turns_of(request.messages)
        given, warnings = sampling_of(model, provider, request)
        system = system_text(turns)
        contents = _contents(turns)
        if not contents:
            contents, system = [{"role": "user", "parts": [{"text": system}]}], ""
        body: dict[str, Any] = {
            "contents": contents,
            "generationConfig": _config(request, given, max_tokens, warnings),
            **_tools(given),
        }
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        warnings += unknown_to("Gemini", given, _KNOWN)
        verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        path = f"/v1/models/{quote(model.upstream, safe='')}:{verb}"
        return EncodedCall(path, dump(body), warnings=tuple(warnings), streams=request.stream)

    def auth_headers(self, key: str) -> dict[str, str]:
        """A header, not the query: addresses end up in logs."""
        return {} if key in KEYLESS else {"x-goog-api-key": key}

    def decode(self, body: bytes) -> Completion:
        """The candidates as choices. A blocked prompt is an answer without text; no candidates
        without a reason is a failed one.
        """
        answer = parse_answer(body)
        usage = usage_of(answer.get("usageMetadata"))
        parsed = read_answer(_Answer, answer, usage, "the answer holds no candidates")
        blocked = parsed.promptFeedback.blockReason if parsed.promptFeedback else None
        if parsed.candidates:
            choices = [_choice(candidate, usage) for candidate in parsed.candidates]
            logprob = parsed.candidates[0].avgLogprobs
        elif blocked:
            reason = f"the prompt was blocked: {blocked}"
            choices, logprob = [Choice("", FinishReason.CONTENT_FILTER, refusal=reason)], None
        elif usage is None:
            raise garbage("neither candidates nor usage")
        else:
            raise failed_answer("no candidates", usage)
        return completion_of(
            parsed.responseId, parsed.modelVersion, choices, usage, mean_logprob=logprob
        )

    def classify_error(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """By the common table; quotas and waits are in the body's details."""
        return classify(status, headers, body, now)


def _contents(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """User and model contents; function responses in a row share one content."""
    names = names_of_calls(turns)
    contents: list[dict[str, Any]] = []
    for turn in turns:
        match turn.role:
            case "user":
                contents.append({"role": "user", "parts": [{"text": turn.text}]})
            case "assistant":
                contents.append({"role": "model", "parts": _model_parts(turn)})
            case "tool":
                part = {
                    "functionResponse": {
                        "name": names.get(turn.tool_call_id, turn.tool_call_id),
                        "response": _as_object(turn.text),
                    }
                }
                if contents and "functionResponse" in contents[-1]["parts"][0]:
                    contents[-1]["parts"].append(part)
                else:
                    contents.append({"role": "user", "parts": [part]})
            case _:
                pass  # system: a field of its own
    return contents


def _model_parts(turn: Turn) -> list[dict[str, Any]]:
    text = [{"text": turn.text}] if turn.text or not turn.tool_calls else []
    calls = [{"functionCall": {"name": c.name, "args": c.parsed()}} for c in turn.tool_calls]
    return [*text, *calls]


def _as_object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    return value if isinstance(value, dict) else {"result": value}


def _config(
    request: Request, given: Mapping[str, Any], max_tokens: int, warnings: list[str]
) -> dict[str, Any]:
    config: dict[str, Any] = {"maxOutputTokens": max_tokens}
    for name, theirs in _CONFIG.items():
        if given.get(name) is not None:
            config[theirs] = given[name]
    if stop_of(given):
        config["stopSequences"] = stop_of(given)
    if request.wants_json:
        config["responseMimeType"] = "application/json"
    schema = schema_of(request)
    if schema is not None:
        config["responseJsonSchema"] = schema
    effort = given.get("reasoning_effort")
    if effort in _LEVELS:
        config["thinkingConfig"] = {"thinkingLevel": effort.upper()}
    elif effort is not None:
        warnings.append("reasoning_effort was left out: Gemini has no such level")
    return config


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    tools = tools_of(given)
    if not tools:
        return {}
    declared = []
    for tool in tools:
        entry: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
        if tool.description:
            entry["description"] = tool.description
        declared.append(entry)
    wanted = given.get("tool_choice")
    calling: dict[str, Any] = {}
    if isinstance(wanted, str) and wanted in _MODES:
        calling = {"mode": _MODES[wanted]}
    elif forced := forced_tool(wanted):
        calling = {"mode": "ANY", "allowedFunctionNames": [forced]}
    config = {"toolConfig": {"functionCallingConfig": calling}} if calling else {}
    return {"tools": [{"functionDeclarations": declared}], **config}


def usage_of(raw: Any) -> Usage | None:
    """The usage in this wire's words; None where there is none. Raises MaybeBilled for an
    unreadable one.
    """
    if not isinstance(raw, dict) or raw.get("promptTokenCount") is None:
        return None
    usage = read_usage(_Usage, raw)
    prompt = usage.promptTokenCount + usage.toolUsePromptTokenCount
    cached = min(usage.cachedContentTokenCount, prompt)
    return Usage(
        input_tokens=prompt - cached,
        cached_tokens=cached,
        # Thoughts are charged as output and are not counted among the candidates.
        output_tokens=usage.candidatesTokenCount + usage.thoughtsTokenCount,
        reasoning_tokens=usage.thoughtsTokenCount,
    )


def _choice(candidate: _Candidate, usage: Usage | None) -> Choice:
    reason = FINISH.get(candidate.finishReason)
    if reason is None:
        raise unknown_answer(f"unknown finishReason {candidate.finishReason!r:.40}", usage)
    if reason is FinishReason.ERROR:
        raise failed_answer(f"finishReason {candidate.finishReason}", usage)
    parts = (candidate.content.parts if candidate.content else None) or []
    calls = [part.functionCall for part in parts if part.functionCall is not None]
    if calls and reason is FinishReason.STOP:
        reason = FinishReason.TOOL_CALLS
    refused = reason is FinishReason.CONTENT_FILTER
    return Choice(
        text="".join(part.text for part in parts if part.text and not part.thought),
        finish_reason=reason,
        tool_calls=[
            ToolCall(call.id or f"call_{i}", call.name, orjson.dumps(call.args or {}).decode())
            for i, call in enumerate(calls)
        ],
        refusal=candidate.finishMessage or candidate.finishReason if refused else None,
    )
