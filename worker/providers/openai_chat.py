"""The OpenAI wire (`/chat/completions`), spoken by OpenAI and a great many compatible hosts.

What hosts do differently is either data in the catalog (the limit's field, refused fields) or read
leniently here: blank lines before the JSON (DeepSeek), content in parts (Mistral), counts that
leave reasoning out of `completion_tokens`, extra finish reasons.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, FinishReason, JsonObject, Request, Usage
from worker.providers.base import KEYLESS, EncodedCall
from worker.providers.completions import (
    MOST_TOKENS,
    Count,
    Foreign,
    Tokens,
    failed_answer,
    mean_of,
    read_answer,
    read_usage,
    unknown_answer,
    usage_object,
)
from worker.providers.error_table import classify, error_facts
from worker.providers.errors import MaybeBilled, ProviderError
from worker.providers.json_body import parse_answer
from worker.providers.messages import cannot_encode, dump, refuse_unsendable, sampling_of
from worker.providers.openai_embeddings import embeddings_call, embeddings_of, is_embeddings

FINISH: Final[Mapping[str | None, FinishReason]] = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    None: FinishReason.STOP,
    "": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "error": FinishReason.ERROR,
    "abort": FinishReason.ERROR,
    "insufficient_system_resource": FinishReason.ERROR,
}


class _PromptDetails(Foreign):
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0


class _CompletionDetails(Foreign):
    reasoning_tokens: Tokens = 0


class _Usage(Foreign):
    prompt_tokens: int = Field(ge=0, le=MOST_TOKENS)
    completion_tokens: Tokens = 0
    total_tokens: Annotated[Count, Field(ge=0, le=2 * MOST_TOKENS)] = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0


class _Message(Foreign):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(Foreign):
    message: _Message
    finish_reason: str | None = None


_NOTHING: Final[Mapping[str, Any]] = {}


class _Answer(Foreign):
    choices: list[_Choice] = Field(min_length=1)


class _Said(NamedTuple):
    """What an answer says. ends: of each choice its finish reason, and whether it calls tools."""

    text: str
    refusal: str | None
    ends: Sequence[tuple[str | None, bool]]


def _said(answer: _Answer) -> _Said:
    first = answer.choices[0].message
    ends = [(choice.finish_reason, bool(choice.message.tool_calls)) for choice in answer.choices]
    return _Said(_text_of(first.content), first.refusal or None, ends)


def _usual(answer: JsonObject) -> _Said | None:
    """As `_said` of the one choice with a text and nothing else, without building the form; None
    where there is more to check.
    """
    choices = answer.get("choices")
    choice = choices[0] if type(choices) is list and len(choices) == 1 else None
    message = choice.get("message") if type(choice) is dict else None
    if type(choice) is not dict or type(message) is not dict:
        return None
    text, reason = message.get("content"), choice.get("finish_reason")
    if type(text) is not str or type(reason) is not str:
        return None
    if message.get("refusal") is not None or message.get("tool_calls") is not None:
        return None
    return _Said(text, None, ((reason, False),))


class _Counts(NamedTuple):
    """Tokens as this wire counts them: parts of the prompt and of the rest are within them."""

    prompt: int
    completion: int = 0
    total: int = 0
    cached: int = 0
    cache_hits: int = 0
    written: int = 0
    reasoning: int = 0


def _counts(usage: _Usage) -> _Counts:
    prompt = usage.prompt_tokens_details or _PromptDetails()
    output = usage.completion_tokens_details or _CompletionDetails()
    return _Counts(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        prompt.cached_tokens,
        usage.prompt_cache_hit_tokens,
        prompt.cache_write_tokens,
        output.reasoning_tokens or usage.reasoning_tokens,
    )


def _plain_counts(raw: JsonObject) -> _Counts | None:
    """As `_counts`, without building the form; None where anything is no plain number."""
    prompt = raw.get("prompt_tokens_details") or _NOTHING
    output = raw.get("completion_tokens_details") or _NOTHING
    if type(prompt) is not dict or type(output) is not dict:
        return None
    counts = _Counts(
        raw["prompt_tokens"],
        raw.get("completion_tokens", 0),
        raw.get("total_tokens", 0),
        prompt.get("cached_tokens", 0),
        raw.get("prompt_cache_hit_tokens", 0),
        prompt.get("cache_write_tokens", 0),
        output.get("reasoning_tokens", 0) or raw.get("reasoning_tokens", 0),
    )
    if set(map(type, counts)) != {int} or min(counts) < 0 or max(counts) > MOST_TOKENS:
        return None
    return counts


class OpenAIChat:
    """The wire; see `base.Wire` for the contract."""

    def encode(
        self, model: ModelSpec, provider: ProviderSpec, request: Request, max_tokens: int
    ) -> EncodedCall:
        """The request nearly as it is: unknown fields are the host's own and pass through."""
        if request.embed is not None:
            return embeddings_call(model, provider, request)
        refuse_unsendable(request.messages)
        given, warnings = sampling_of(model, provider, request)
        _refuse_hosted_tools(given)
        body: dict[str, Any] = {"model": model.upstream, "messages": request.messages, **given}
        if request.response_format is not None:
            body["response_format"] = request.response_format
        body[provider.max_tokens_field] = max_tokens
        if request.stream:
            body["stream"] = True
            if "stream_options" not in provider.drop_params:
                body["stream_options"] = {"include_usage": True}
        return EncodedCall(
            "/chat/completions", dump(body), warnings=tuple(warnings), streams=request.stream
        )

    def auth_headers(self, key: str) -> dict[str, str]:
        """A bearer token."""
        return {} if key in KEYLESS else {"authorization": f"Bearer {key}"}

    def decode(self, body: bytes) -> Completion:
        """The answer, its body as the host wrote it but for finish reasons and usage."""
        answer = parse_answer(body)
        usage = usage_of(answer.get("usage"))
        if is_embeddings(answer):
            return embeddings_of(answer, usage)
        if answer.get("error") and not answer.get("choices"):
            raise MaybeBilled("error_in_answer", error_facts(body).message, billed=usage)
        said = _usual(answer) or _said(
            read_answer(_Answer, answer, usage, "the answer is no chat.completion")
        )
        reasons = [_finish_of(reason, calls_tools, usage) for reason, calls_tools in said.ends]
        return Completion(
            text=said.text,
            finish_reason=reasons[0],
            usage=usage or Usage(),
            body=_normalised(answer, reasons, usage),
            refusal=said.refusal,
            mean_logprob=_mean_logprob(answer["choices"][0]),
        )

    def classify_error(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """By the common table; 498 is Groq's word for no capacity."""
        return classify(status, headers, body, now)


def _refuse_hosted_tools(given: Mapping[str, Any]) -> None:
    """Tools that the host runs itself are charged besides the tokens."""
    tools = given.get("tools") or ()
    for tool in tools if isinstance(tools, list | tuple) else ():
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
        if kind not in ("function", "custom"):
            raise cannot_encode("only tools of type function or custom can be offered")


def usage_of(raw: Any) -> Usage | None:
    """The usage in this wire's words; None where there is none. Raises MaybeBilled for an
    unreadable one.
    """
    if not isinstance(raw, dict) or raw.get("prompt_tokens") is None:
        return None
    counts = _plain_counts(raw) or _counts(read_usage(_Usage, raw))
    cached = min(counts.cached or counts.cache_hits, counts.prompt)
    written = min(counts.written, counts.prompt - cached)
    # Some hosts count reasoning only in the total: what is not prompt was generated.
    output = max(counts.completion, counts.total - counts.prompt)
    return Usage(
        input_tokens=counts.prompt - cached - written,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=min(counts.reasoning, output),
    )


def _finish_of(told: str | None, calls_tools: bool, usage: Usage | None) -> FinishReason:
    reason = FINISH.get(told)
    if reason is None:
        raise unknown_answer(f"unknown finish_reason {told!r:.40}", usage)
    if reason is FinishReason.ERROR:
        raise failed_answer(f"finish_reason {told}", usage)
    if calls_tools and reason is FinishReason.STOP:
        return FinishReason.TOOL_CALLS
    return reason


def _text_of(content: str | Sequence[JsonObject] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = (part.get("text") for part in content if part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _normalised(
    answer: dict[str, Any], reasons: Sequence[FinishReason], usage: Usage | None
) -> dict[str, Any]:
    body = dict(answer)
    body["id"] = str(answer.get("id") or "chatcmpl-unnamed")
    body["object"] = "chat.completion"
    if not isinstance(answer.get("created"), int):
        body["created"] = 0
    body["choices"] = [
        {**choice, "index": i, "finish_reason": reason.value}
        for i, (choice, reason) in enumerate(zip(answer["choices"], reasons, strict=True))
    ]
    body["usage"] = None if usage is None else {**answer["usage"], **usage_object(usage)}
    return body


def _mean_logprob(choice: JsonObject) -> float | None:
    logprobs = choice.get("logprobs")
    if logprobs is None:
        return None
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    values = [
        float(token["logprob"])
        for token in (tokens if isinstance(tokens, list) else ())
        if isinstance(token, dict) and isinstance(token.get("logprob"), int | float)
    ]
    return mean_of(values)
