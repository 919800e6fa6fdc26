"""A call before it is let in: encoded, with its worst case in tokens and in money. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from shared.catalog.pricing import worst_case_nusd
from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Request, text_of
from shared.domain.values import made_often
from shared.tokens import input_token_bound
from worker.providers.base import EncodedCall, Wire

_THINKING: Final = frozenset({"reasoning_effort", "thinking", "reasoning"})


@made_often(frozen=True, slots=True)
class PreparedCall:
    """A call that has its worst case: tokens in and out, and what they cost in nano-dollars.

    may_think: the model may write tokens that nobody is shown. carried: headers of this call alone.
    """

    model: ModelSpec
    provider: ProviderSpec
    encoded: EncodedCall
    input_token_bound: int
    max_output_tokens: int
    worst_case_nusd: int
    may_think: bool = False
    carried: Mapping[str, str] | None = None


def prepared_call(
    model: ModelSpec, provider: ProviderSpec, wire: Wire, request: Request, max_tokens: int
) -> PreparedCall:
    """The call of a model with its worst case. Raises NotSent for what its wire cannot say."""
    encoded = wire.encode(model, provider, request, max_tokens)
    bound = input_token_bound(
        len(encoded.body),
        _texts_to_count(model, request),
        len(request.messages),
        model.tokenizer,
        tools=request.wants_tools,
    )
    output = max_tokens * request.choices
    # Only a request that says so can write the dearer one-hour cache.
    hour = b'"1h"' in encoded.body
    worst = worst_case_nusd(model.price, bound, output, writes_1h_cache=hour)
    thinks = "temperature" not in model.capabilities or not _THINKING.isdisjoint(request.extras)
    return PreparedCall(model, provider, encoded, bound, output, worst, thinks)


def _texts_to_count(model: ModelSpec, request: Request) -> Sequence[str]:
    """What the model's own tokenizer counts; without one the bytes are counted alone."""
    if model.tokenizer is None:
        return ()
    return [text_of(message.get("content")) for message in request.messages]
