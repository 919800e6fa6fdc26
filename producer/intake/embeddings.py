"""The body of a request for embeddings, as OpenAI has it, becomes a request."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from producer.intake import fields
from producer.intake.refusal import Refusal
from shared.domain.inference import Constraints, Request

MAX_INPUTS: Final = 2048
_MAX_DIMENSIONS: Final = 100_000
_LARGEST_TOKEN: Final = 2**31 - 1
_FORMATS: Final = ("float", "base64")
_KNOWN: Final = (
    "input", "model", "dimensions", "encoding_format", "user", "constraints", "metadata", "cache",
)  # fmt: skip


def read_embeddings(
    body: Mapping[str, Any], at: str, words: Collection[str], known_models: Collection[str]
) -> Request:
    """The request of a body; raises Refusal. `at` goes before the names of its fields.

    `fallback_models` is refused: vectors of two models cannot be compared. So is what would make
    no difference (a format of answers, a temperature).
    """
    for name in body:
        if name not in _KNOWN:
            raise fields.unknown(name, at, _KNOWN)
    get = body.get
    model, user, limits, notes, cache = (
        get(name) for name in ("model", "user", "constraints", "metadata", "cache")
    )
    if user is not None:
        fields.checked_extra("user", user, f"{at}user")
    return Request(
        messages=(),
        model="auto" if model is None else fields.model(model, words, f"{at}model"),
        extras={} if user is None else {"user": user},
        constraints=(
            Constraints()
            if limits is None
            else fields.constraints(limits, known_models, f"{at}constraints")
        ),
        metadata={} if notes is None else fields.mapping(notes, f"{at}metadata"),
        cache=None if cache is None else fields.flag(cache, f"{at}cache"),
        embed=_embed(body, at),
    )


def _embed(body: Mapping[str, Any], at: str) -> dict[str, Any]:
    embed: dict[str, Any] = {"input": _input(body.get("input"), f"{at}input")}
    dimensions, form = body.get("dimensions"), body.get("encoding_format")
    if dimensions is not None:
        where = f"{at}dimensions"
        embed["dimensions"] = fields.whole(dimensions, where, 1, _MAX_DIMENSIONS)
    if form is not None:
        if form not in _FORMATS:
            message = "must be one of " + ", ".join(_FORMATS)
            raise Refusal("invalid_value", f"{at}encoding_format", message)
        embed["encoding_format"] = form
    return embed


def _input(given: Any, at: str) -> Any:
    """A text, a list of texts, the tokens of a text, or a list of those; none of them empty."""
    if given is None:
        raise Refusal("missing_required_parameter", at, "give a text or a list of texts")
    if isinstance(given, str):
        return _text(given, at)
    if not isinstance(given, list):
        raise Refusal("invalid_type", at, "must be a text, a list of texts, or tokens")
    if not given:
        raise Refusal("invalid_value", at, "is empty; give a text")
    if type(given[0]) is int:
        return _tokens(given, at)
    if len(given) > MAX_INPUTS:
        raise Refusal("invalid_value", at, f"has more than {MAX_INPUTS} inputs; split it")
    one = _text if isinstance(given[0], str) else _tokens
    return [one(inner, f"{at}[{i}]") for i, inner in enumerate(given)]


def _text(given: Any, at: str) -> str:
    if not isinstance(given, str):
        raise Refusal("invalid_type", at, "must be a text, as the first one is")
    if not given:
        raise Refusal("invalid_value", at, "is empty; give a text")
    return given


def _tokens(given: Any, at: str) -> list[int]:
    if not isinstance(given, list):
        raise Refusal("invalid_type", at, "must be a text or a list of token numbers")
    if not given:
        raise Refusal("invalid_value", at, "is empty; give a token")
    return [fields.whole(token, f"{at}[{i}]", 0, _LARGEST_TOKEN) for i, token in enumerate(given)]
