"""When two requests are the same one, and when its answer may be given twice.

The same is what would get the same answer: everything but the line's own name, its metadata, and
how the answer is handed over.
"""

from collections.abc import Sequence
from dataclasses import astuple
from hashlib import blake2b
from typing import Any, Final

import orjson

from shared.domain.inference import Constraints, JsonObject, Request

FINGERPRINT_BYTES: Final = 16
_NO_CONSTRAINTS: Final = Constraints()


def fingerprint(request: Request) -> bytes:
    """128 bits that two requests share if they ask the same of the same models.

    The order of a message's own fields does not count; that of a schema or a tool does, for models
    write in the order of the schema.
    """
    weights, limits = request.preferences, request.constraints
    told = _told(
        request.messages,
        request.model,
        request.max_tokens,
        request.temperature,
        request.fallback_models,
        None if weights is None else astuple(weights),
        None if limits == _NO_CONSTRAINTS else astuple(limits),
    )
    if request.response_format is not None or request.extras:
        told += orjson.dumps((request.response_format, sorted(request.extras.items())))
    if request.preferred_models:
        told += orjson.dumps({"preferred": request.preferred_models})
    if request.embed is not None:
        told += orjson.dumps(request.embed, option=orjson.OPT_SORT_KEYS)
    return _hashed(told)


def plain_fingerprint(
    messages: Sequence[JsonObject], model: str, max_tokens: int | None, temperature: float | None
) -> bytes:
    """The `fingerprint` of a request that says nothing but this."""
    # As `_told` and `_hashed` do it, in one call: a file has a million lines.
    heat = None if temperature is None else float(temperature)
    told = orjson.dumps(
        (messages, model, max_tokens, heat, (), None, None), option=orjson.OPT_SORT_KEYS
    )
    return blake2b(told, digest_size=FINGERPRINT_BYTES).digest()


def _told(
    messages: Sequence[JsonObject],
    model: str,
    max_tokens: int | None,
    temperature: float | None,
    *rest: Any,
) -> bytes:
    heat = None if temperature is None else float(temperature)
    wish = (messages, model, max_tokens, heat, *rest)
    return orjson.dumps(wish, option=orjson.OPT_SORT_KEYS)


def _hashed(told: bytes) -> bytes:
    return blake2b(told, digest_size=FINGERPRINT_BYTES).digest()


def may_repeat(request: Request) -> bool:
    """Whether one answer does for all who ask this.

    Not where a request asks for variety: with a temperature above 0, or for several choices, unless
    a seed says that the same is wanted again. `cache` in the request decides for itself.
    """
    if request.cache is not None:
        return request.cache
    if request.extras.get("seed") is not None:
        return True
    return not request.temperature and request.choices == 1
