"""The fields of a request, one check each: the value in its normal form, or Refusal.

`at` is where the field stands, as messages and `field` name it ("temperature", "body.n").
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from producer.intake.refusal import Refusal, hint, shown
from shared.domain.inference import Constraints, Preferences, Tier
from shared.domain.money import nusd_from_usd

MAX_TOKENS: Final = 1_000_000
MAX_CHOICES: Final = 128
MAX_CUSTOM_ID: Final = 512
_MAX_NAMED: Final = 16
_MAX_WEIGHT: Final = 1e9
_MAX_SECONDS: Final = 1e6

FORMAT_TYPES: Final = ("text", "json_object", "json_schema")
_PREFERENCES: Final = ("cost", "latency", "quality")
_CONSTRAINTS: Final = ("max_cost_usd", "max_latency_s", "allowed_models", "min_tier")
_TIERS: Final = tuple(tier.value for tier in Tier)


def custom_id(value: object, at: str = "custom_id") -> str:
    """A name of 1 to 512 characters."""
    if not isinstance(value, str):
        raise _wrong_type(at, "a string")
    if not 1 <= len(value) <= MAX_CUSTOM_ID:
        raise Refusal("invalid_value", at, f"must have 1 to {MAX_CUSTOM_ID} characters")
    return value


def model(value: object, known: Collection[str], at: str) -> str:
    """A routing word, a tier, or a model of the catalog."""
    if not isinstance(value, str):
        raise _wrong_type(at, "a string")
    if value not in known:
        near = hint(value, known) or "`promptmill models` lists what there is"
        raise Refusal("model_not_found", at, f"no model {shown(value)!r} in the catalog; {near}")
    return value


def whole(value: object, at: str, least: int, most: int) -> int:
    """A whole number within bounds; true and 1.0 are none."""
    if type(value) is not int:
        raise _wrong_type(at, "a whole number")
    if not least <= value <= most:
        raise Refusal("invalid_value", at, f"must lie between {least} and {most}")
    return value


def number(value: object, at: str, least: float, most: float) -> float:
    """A finite number within bounds, as it was written."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(at, "a number")
    if not (math.isfinite(value) and least <= value <= most):
        raise Refusal("invalid_value", at, f"must lie between {least:g} and {most:g}")
    return value


def flag(value: object, at: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _wrong_type(at, "true or false")
    return value


def mapping(value: object, at: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise _wrong_type(at, "an object")
    return value


def response_format(value: object, at: str) -> dict[str, Any]:
    """{"type": "text" | "json_object" | "json_schema", "json_schema"?: {"schema": {...}}}."""
    given = mapping(value, at)
    kind = given.get("type")
    if kind is None:
        raise Refusal("missing_required_parameter", f"{at}.type", _one_of(FORMAT_TYPES))
    if kind not in FORMAT_TYPES:
        raise Refusal("invalid_value", f"{at}.type", _one_of(FORMAT_TYPES))
    if kind == "json_schema":
        where = f"{at}.json_schema"
        if given.get("json_schema") is None:
            raise Refusal("missing_required_parameter", where, "give the schema to answer by")
        schema = mapping(given["json_schema"], where).get("schema")
        if schema is None:
            raise Refusal("missing_required_parameter", f"{where}.schema", "give the JSON schema")
        mapping(schema, f"{where}.schema")
    return given


def preferences(value: object, at: str) -> Preferences:
    """Weights of cost, latency and quality; one that is not named counts nothing."""
    given = _only(value, at, _PREFERENCES)
    weights = {
        name: float(number(weight, f"{at}.{name}", 0, _MAX_WEIGHT))
        for name, weight in given.items()
    }
    if not any(weights.values()):
        raise Refusal("invalid_value", at, "give at least one weight above 0")
    return Preferences(**{name: weights.get(name, 0.0) for name in _PREFERENCES})


def constraints(value: object, known_models: Collection[str], at: str) -> Constraints:
    """What the route must keep."""
    given = _only(value, at, _CONSTRAINTS)
    seconds = given.get("max_latency_s")
    if seconds is not None and number(seconds, f"{at}.max_latency_s", 0, _MAX_SECONDS) == 0:
        raise Refusal("invalid_value", f"{at}.max_latency_s", "must be above 0")
    tier = given.get("min_tier")
    if tier is not None and tier not in _TIERS:
        raise Refusal("invalid_value", f"{at}.min_tier", _one_of(_TIERS))
    allowed = given.get("allowed_models")
    return Constraints(
        max_cost_nusd=_usd(given.get("max_cost_usd"), f"{at}.max_cost_usd"),
        max_latency_s=None if seconds is None else float(seconds),
        allowed_models=(
            None if allowed is None else models(allowed, known_models, f"{at}.allowed_models")
        ),
        min_tier=None if tier is None else Tier(tier),
    )


def models(value: object, known: Collection[str], at: str) -> tuple[str, ...]:
    """A list of names in the catalog, each once, at least one."""
    if not isinstance(value, list):
        raise _wrong_type(at, "a list of model names")
    if not value:
        raise Refusal("invalid_value", at, "name at least one model or leave it out")
    return tuple(dict.fromkeys(model(name, known, f"{at}[{i}]") for i, name in enumerate(value)))


def some_models(value: object, known: Collection[str], at: str) -> tuple[str, ...]:
    """A few names in the catalog, in their order; an empty list names none."""
    if isinstance(value, list) and len(value) > _MAX_NAMED:
        raise Refusal("invalid_value", at, f"name at most {_MAX_NAMED} models")
    return () if value == [] else models(value, known, at)


def unknown(name: str, at: str, known: Collection[str]) -> Refusal:
    """The refusal of a field that does not exist."""
    near = hint(name, known) or "known are " + ", ".join(known)
    return Refusal("unknown_parameter", f"{at}{shown(name)}", f"there is no such field; {near}")


def checked_extra(name: str, value: object, at: str) -> None:
    """Check the type of a field that passes to the provider; those we do not know pass as is."""
    check = _EXTRAS.get(name)
    if check is not None:
        check(value, at)


def _usd(value: object, at: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong_type(at, "an amount in USD")
    try:
        return nusd_from_usd(value)
    except ValueError:
        raise Refusal("invalid_value", at, "must be an amount in USD, 0 to 9,000,000") from None


def _only(value: object, at: str, known: Collection[str]) -> dict[str, Any]:
    """The object's fields that are not null; any that is not known is refused."""
    given = mapping(value, at)
    for name in given:
        if name not in known:
            raise unknown(name, f"{at}.", known)
    return {name: inner for name, inner in given.items() if inner is not None}


def _one_of(words: Collection[str]) -> str:
    return "must be one of " + ", ".join(words)


def _wrong_type(at: str, wanted: str) -> Refusal:
    return Refusal("invalid_type", at, f"must be {wanted}")


def _flag(value: object, at: str) -> None:
    flag(value, at)


def _text(value: object, at: str) -> None:
    if not isinstance(value, str):
        raise _wrong_type(at, "a string")


def _stop(value: object, at: str) -> None:
    if isinstance(value, list):
        for i, text in enumerate(value):
            _text(text, f"{at}[{i}]")
    elif not isinstance(value, str):
        raise _wrong_type(at, "a string or a list of strings")


def _tools(value: object, at: str) -> None:
    if not isinstance(value, list):
        raise _wrong_type(at, "a list of tools")
    for i, tool in enumerate(value):
        if mapping(tool, f"{at}[{i}]").get("type") not in ("function", "custom"):
            raise Refusal(
                "unsupported_parameter",
                f"{at}[{i}].type",
                "only function and custom tools: what a hosted tool costs is not known beforehand",
            )


def _tool_choice(value: object, at: str) -> None:
    if not isinstance(value, str | dict):
        raise _wrong_type(at, "a string or an object")


def _range(least: float, most: float) -> Callable[[object, str], None]:
    def check(value: object, at: str) -> None:
        number(value, at, least, most)

    return check


def _whole_range(least: int, most: int) -> Callable[[object, str], None]:
    def check(value: object, at: str) -> None:
        whole(value, at, least, most)

    return check


def _object(value: object, at: str) -> None:
    mapping(value, at)


_EXTRAS: Final[Mapping[str, Callable[[object, str], None]]] = {
    "n": _whole_range(1, MAX_CHOICES),
    "top_p": _range(0, 1),
    "presence_penalty": _range(-2, 2),
    "frequency_penalty": _range(-2, 2),
    "seed": _whole_range(-(2**63), 2**63 - 1),
    "top_logprobs": _whole_range(0, 20),
    "logprobs": _flag,
    "parallel_tool_calls": _flag,
    "stop": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "logit_bias": _object,
    "user": _text,
    "reasoning_effort": _text,
}

NATIVE_EXTRAS: Final = tuple(_EXTRAS)
"""Fields of OpenAI's body that a native line may have, too."""
