"""Embeddings over the OpenAI wire (`/embeddings`): the call, and the vectors as they came.

Vectors are passed on untouched, as numbers or in base64, whichever was asked for.
"""

from typing import Any, Final

from pydantic import Field, ValidationError

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, FinishReason, Request, Usage
from worker.providers.base import EncodedCall
from worker.providers.completions import Foreign, unknown_answer
from worker.providers.messages import cannot_encode, dump

_FIELDS: Final = ("input", "dimensions", "encoding_format")


class _Embedding(Foreign):
    embedding: str | list[float] = Field(min_length=1)
    index: int | None = None


class _Embeddings(Foreign):
    data: list[_Embedding] = Field(min_length=1)


def embeddings_call(model: ModelSpec, provider: ProviderSpec, request: Request) -> EncodedCall:
    """The call of a request for embeddings. Raises NotSent for a model that makes none, or a field
    that the host refuses: without it the vectors would be others.
    """
    if request.embed is None or not model.embeds:
        raise cannot_encode(f"{model.name} makes no embeddings")
    given = {name: request.embed[name] for name in _FIELDS if name in request.embed}
    refused = sorted(given.keys() & set(provider.drop_params))
    if refused:
        raise cannot_encode(f"{provider.name} refuses {refused[0]}")
    body = {"model": model.upstream, **given, **request.extras}
    return EncodedCall("/embeddings", dump(body), vectors=len(request.embedded_inputs))


def is_embeddings(answer: dict[str, Any]) -> bool:
    """Whether an answer holds embeddings rather than a completion."""
    return "choices" not in answer and isinstance(answer.get("data"), list)


def embeddings_of(answer: dict[str, Any], usage: Usage | None) -> Completion:
    """The vectors, in the order of the inputs. Raises MaybeBilled where they are none."""
    try:
        parsed = _Embeddings.model_validate(answer)
    except ValidationError:
        raise unknown_answer("the answer holds no embeddings", usage) from None
    placed = {
        place if one.index is None else one.index: one.embedding
        for place, one in enumerate(parsed.data)
    }
    if set(placed) != set(range(len(parsed.data))):
        raise unknown_answer("the embeddings are numbered with gaps", usage)
    vectors = [
        {"object": "embedding", "index": place, "embedding": placed[place]}
        for place in range(len(placed))
    ]
    told = None
    if usage is not None:
        tokens = usage.total_input_tokens
        told = {"prompt_tokens": tokens, "total_tokens": tokens + usage.output_tokens}
    body = {"object": "list", "data": vectors, "model": answer.get("model"), "usage": told}
    return Completion("", FinishReason.STOP, usage or Usage(), body)
