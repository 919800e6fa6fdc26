"""Reading the JSON object that a model was asked for, whatever it says around it. Pure."""

import re
from typing import Any, Final

import orjson

_READ_CHARS: Final = 20_000
_OBJECT: Final = re.compile(r"\{[^{}]*\}")


def first_object(text: str) -> dict[str, Any]:
    """The first JSON object without further objects in it; empty where there is none."""
    for found in _OBJECT.finditer(text[:_READ_CHARS]):
        try:
            value = orjson.loads(found[0])
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    return {}
