"""Building an OpenAI `chat.completion` from the parts of any wire's answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.domain.inference import Completion, FinishReason, Usage
from worker.providers.errors import MaybeBilled, ProviderError, Unavailable
from worker.providers.json_body import garbage
from worker.providers.messages import ToolCall


class Foreign(BaseModel):
    """A part of a provider's answer: what we do not know of is ignored."""

    model_config = ConfigDict(extra="ignore")


Form = TypeVar("Form", bound=Foreign)


MOST_TOKENS: Final = 500_000_000
"""The largest number of tokens that is believed: a hundred times what any model reads, and four of
them added up still fit into the 32 bits of a cost row."""

Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
Tokens = Annotated[Count, Field(ge=0, le=MOST_TOKENS)]
"""A number of tokens; null counts as 0, a negative or absurd one makes the answer garbage."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of possibly several."""

    text: str
    finish_reason: FinishReason
    tool_calls: Sequence[ToolCall] = ()
    refusal: str | None = None


def completion_of(
    answer_id: str,
    model: str,
    choices: Sequence[Choice],
    usage: Usage | None,
    *,
    mean_logprob: float | None = None,
) -> Completion:
    """The answer; `body["created"]` is 0, for whoever has a clock to fill in."""
    first = choices[0]
    body = {
        "id": answer_id or "chatcmpl-unnamed",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [_choice(i, choice) for i, choice in enumerate(choices)],
        "usage": None if usage is None else usage_object(usage),
    }
    return Completion(
        text=first.text,
        finish_reason=first.finish_reason,
        usage=usage or Usage(),
        body=body,
        refusal=first.refusal,
        mean_logprob=mean_logprob,
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """The usage in OpenAI's terms: cached tokens are part of the prompt's, reasoning of the
    completion's.
    """
    prompt, completion = usage.total_input_tokens, usage.output_tokens
    writes = usage.cache_write_tokens + usage.cache_write_1h_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": writes,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def failed_answer(why: str, usage: Usage | None) -> ProviderError:
    """The error for a 2xx that says of itself that the model failed."""
    if usage is None:
        return MaybeBilled("answer_failed", why)
    return Unavailable("answer_failed", why, billed=usage)


def unknown_answer(what: str, usage: Usage | None) -> MaybeBilled:
    """The error for a 2xx we have no reading for; its usage, if given, is what it costs."""
    return MaybeBilled("garbage", what, billed=usage)


def read_usage(form: type[Form], raw: Mapping[str, Any]) -> Form:
    """The usage in a wire's own form. Raises MaybeBilled for one that cannot be read."""
    try:
        return form.model_validate(raw)
    except ValidationError:
        raise garbage("the usage cannot be read") from None


def read_answer(
    form: type[Form], answer: Mapping[str, Any], usage: Usage | None, otherwise: str
) -> Form:
    """The answer in a wire's own form. Raises MaybeBilled, saying `otherwise`, for any other."""
    try:
        return form.model_validate(answer)
    except ValidationError:
        raise unknown_answer(otherwise, usage) from None


def mean_of(values: Sequence[float]) -> float | None:
    """The mean log-probability; None where none were given."""
    return sum(values) / len(values) if values else None


def _choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text if choice.text or not choice.tool_calls else None,
        "refusal": choice.refusal,
    }
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.tool_calls
        ]
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": choice.finish_reason.value,
    }
