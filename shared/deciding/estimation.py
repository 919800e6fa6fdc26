"""What a request asks of a model in tokens, and what that is expected to cost and can cost."""

from typing import Any, Final

import orjson

from shared.catalog.pricing import cost_nusd, worst_case_nusd
from shared.catalog.spec import ModelSpec
from shared.domain.inference import Request, TaskType, Usage, text_of
from shared.domain.values import made_often
from shared.tokens import input_token_bound

EXPECTED_OUTPUT_TOKENS: Final = {
    TaskType.SIMPLE_QA: 80,
    TaskType.ANALYSIS: 300,
    TaskType.CODING: 450,
    TaskType.COMPLEX_REASONING: 450,
    TaskType.CREATIVE: 600,
}
"""Of a usual answer. Estimates to start from; they order models and never limit money."""

_BYTES_PER_TOKEN: Final = 4
# English has 4 to 5 bytes a token, code and Chinese about 3: what is held against the window.
_BYTES_PER_TOKEN_AT_WORST: Final = 3
_BODY_FRAME: Final = 256  # the body's other fields: model, limits, names


@made_often(frozen=True, slots=True)
class Demand:
    """What a request asks for, whichever model answers.

    body_bytes: bytes of a provider's body, about. input_tokens: expected. rough_tokens: the same to
    three binary digits, for what only orders models. window_tokens: held against a context window;
    more than most prompts have, far less than the bound by bytes, which would keep long prompts
    from models that can read them. output_tokens: expected per choice.
    """

    body_bytes: int
    input_tokens: int
    rough_tokens: int
    window_tokens: int
    output_tokens: int
    choices: int
    writes_1h_cache: bool


def demand_of(request: Request, task_type: TaskType) -> Demand:
    """Measure a request once, for all models."""
    if request.embed is not None:
        return _demand_of_embedding(request)
    fields: list[Any] = [request.messages, request.extras, request.response_format]
    body = orjson.dumps(fields)
    size = len(body)
    return Demand(
        body_bytes=size + _BODY_FRAME,
        input_tokens=-(-size // _BYTES_PER_TOKEN),
        rough_tokens=_roughly(-(-size // _BYTES_PER_TOKEN)),
        window_tokens=-(-size // _BYTES_PER_TOKEN_AT_WORST),
        output_tokens=EXPECTED_OUTPUT_TOKENS[task_type],
        choices=max(1, request.choices),
        writes_1h_cache=b'"1h"' in body,
    )


def _demand_of_embedding(request: Request) -> Demand:
    """Of a request for embeddings, whose window holds each input by itself; nothing is written."""
    size = len(orjson.dumps(request.embed))
    longest = max(_tokens_of(one) for one in request.embedded_inputs)
    return Demand(
        body_bytes=size + _BODY_FRAME,
        input_tokens=-(-size // _BYTES_PER_TOKEN),
        rough_tokens=_roughly(-(-size // _BYTES_PER_TOKEN)),
        window_tokens=longest,
        output_tokens=0,
        choices=1,
        writes_1h_cache=False,
    )


def _roughly(tokens: int) -> int:
    """A count rounded to its three leading binary digits: by an eighth of it at most."""
    shift = max(0, tokens.bit_length() - 3)
    return (tokens + (1 << shift >> 1)) >> shift << shift


def _tokens_of(one: str | list[int]) -> int:
    # Windows are small and a refusal by the provider is free: only what is clearly too long is
    # kept from it.
    return -(-len(one.encode()) // _BYTES_PER_TOKEN) if isinstance(one, str) else len(one)


def max_tokens_for(request: Request, demand: Demand, model: ModelSpec, default: int) -> int | None:
    """The limit on output tokens sent to this model; None where the request does not fit it.

    The request's own limit, else the default; never above what the model can write. 0 for a
    request for embeddings.
    """
    if request.embed is not None:
        return 0 if demand.window_tokens <= model.context_window else None
    wanted = request.max_tokens if request.max_tokens is not None else default
    limit = min(wanted, model.max_output_tokens)
    if limit < 1 or demand.window_tokens + limit > model.context_window:
        return None
    return limit


def expected_cost_nusd(demand: Demand, model: ModelSpec, max_tokens: int) -> int:
    """What one attempt is expected to cost, in nano-dollars."""
    return _cost_nusd(demand.input_tokens, demand, model, max_tokens)


def rough_cost_nusd(demand: Demand, model: ModelSpec, max_tokens: int) -> int:
    """The expected cost of a prompt of about this size, in nano-dollars: to order models by."""
    return _cost_nusd(demand.rough_tokens, demand, model, max_tokens)


def _cost_nusd(input_tokens: int, demand: Demand, model: ModelSpec, max_tokens: int) -> int:
    output = min(demand.output_tokens, max_tokens) * demand.choices
    return cost_nusd(model.price, Usage(input_tokens=input_tokens, output_tokens=output))


def worst_cost_nusd(request: Request, demand: Demand, model: ModelSpec, max_tokens: int) -> int:
    """What one attempt can cost at most, in nano-dollars; of the size of its reservation."""
    texts = [text_of(message.get("content")) for message in request.messages]
    bound = input_token_bound(
        demand.body_bytes, texts, len(texts), model.tokenizer, tools=request.wants_tools
    )
    return worst_case_nusd(
        model.price, bound, max_tokens * demand.choices, writes_1h_cache=demand.writes_1h_cache
    )
