"""JSON answers: a value that fits a simple schema, drawn from a seed, the same every time."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, Final

import orjson

Json = dict[str, Any]

_WORDS: Final = ("amber", "birch", "copper", "delta", "ember", "fjord", "granite", "harbor")
_KEYS: Final = re.compile(
    r"\b(?:keys?|fields?|properties)\b\s*:?\s*((?:[`\"']?[a-z_][a-z0-9_]*[`\"']?(?:\s*,\s*(?:and\s+)?|\s+and\s+)?)+)",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_HEAD_CHARS: Final = 4000
_DEEPEST: Final = 12
_MOST_KEYS: Final = 20
_MOST_ITEMS: Final = 50
_LONGEST: Final = 2000


class SchemaError(ValueError):
    """A schema that is none: bounds that are no numbers, properties that are no table."""


def fitting_object(schema: Json | None, prompt: str, seed: int) -> str:
    """A JSON text: a value of the schema, or an object of the keys the prompt names.

    Raises SchemaError.
    """
    random = Random(seed)
    if schema is not None:
        try:
            return orjson.dumps(_Filler(schema, random).value(schema)).decode()
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise SchemaError(str(error)) from error
    keys = list(_named_keys(prompt[:_HEAD_CHARS])) or ["answer", "confidence"]
    value: Json = {key: _by_name(key, random) for key in keys}
    return orjson.dumps(value).decode()


def _named_keys(prompt: str) -> Iterator[str]:
    found = _KEYS.search(prompt)
    if found is None:
        return
    for number, key in enumerate(_KEY.findall(found[1])):
        if number == _MOST_KEYS:
            return
        if key.lower() != "and":
            yield key


def _by_name(key: str, random: Random) -> Any:
    """A value whose type the key's name suggests."""
    lowered = key.lower()
    if any(part in lowered for part in ("confidence", "score", "difficulty", "probability")):
        return round(random.uniform(0.55, 0.98), 2)
    if any(part in lowered for part in ("count", "number", "age", "year", "quantity", "total")):
        return random.randint(1, 60)
    if lowered.startswith(("is_", "has_")):
        return random.random() < 0.5
    if lowered == "sentiment":
        return random.choice(("positive", "negative", "neutral"))
    return f"{random.choice(_WORDS)} {random.choice(_WORDS)}"


class _Filler:
    """Walks a schema. Knows type, enum, const, anyOf/oneOf/allOf, $ref within the document, bounds.

    Does not know patterns, conditions and negation: such an answer may not fit.
    """

    def __init__(self, root: Json, random: Random) -> None:
        self._root = root
        self._random = random

    def value(self, schema: object, depth: int = 0, name: str = "") -> Any:
        """A value for this part of the schema."""
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._random.choice(schema["enum"])
        kind = _type_of(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            least, most = int(schema.get("minItems", 1)), int(schema.get("maxItems", 2))
            count = min(max(least, min(2, most)), _MOST_ITEMS)
            return [self.value(schema.get("items", {}), depth + 1, name) for _ in range(count)]
        return self._scalar(schema, kind, name)

    def _resolved(self, schema: Json) -> Json:
        for _ in range(_DEEPEST):
            if isinstance(ref := schema.get("$ref"), str):
                schema = self._target(ref)
                continue
            if schema.get("allOf"):
                merged: Json = {key: part for key, part in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    merged = _merged(merged, self._resolved(part))
                return merged
            options = schema.get("anyOf") or schema.get("oneOf")
            if not options:
                return schema
            solid = [option for option in options if option.get("type") != "null"]
            schema = (solid or options)[0]
        return schema

    def _target(self, ref: str) -> Json:
        part: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                part = part.get(step, {}) if isinstance(part, dict) else {}
        return part if isinstance(part, dict) else {}

    def _object(self, schema: Json, depth: int) -> Json:
        properties = schema.get("properties") or {}
        names = list(properties) if depth < _DEEPEST // 2 else schema.get("required", [])
        return {name: self.value(properties.get(name, {}), depth + 1, name) for name in names}

    def _scalar(self, schema: Json, kind: str, name: str) -> Any:
        match kind:
            case "integer":
                return self._integer(schema)
            case "number":
                low, high = schema.get("minimum", 0), schema.get("maximum", 1)
                return round(self._random.uniform(low, max(low, high)), 2)
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
            case _:
                return self._text(schema, name)

    def _integer(self, schema: Json) -> int:
        low = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        high = int(schema.get("maximum", schema.get("exclusiveMaximum", low + 100) - 1))
        step = int(schema.get("multipleOf", 1)) or 1
        lowest, highest = -(-low // step), high // step
        return step * self._random.randint(lowest, max(lowest, highest))

    def _text(self, schema: Json, name: str) -> str:
        match schema.get("format"):
            case "date":
                return (date(2026, 1, 1) + timedelta(self._random.randrange(365))).isoformat()
            case "date-time":
                return f"2026-01-{self._random.randint(1, 28):02d}T12:00:00Z"
            case "email":
                return f"{self._random.choice(_WORDS)}@example.com"
            case _:
                text = f"{self._random.choice(_WORDS)} {name or 'value'}".ljust(
                    min(int(schema.get("minLength", 0)), _LONGEST), "."
                )
                return text[: int(schema.get("maxLength", len(text)))]


def _type_of(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()  # Gemini writes types in capitals
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _merged(left: Json, right: Json) -> Json:
    both = {**left, **right}
    for key in ("properties", "required"):
        if key in left and key in right:
            both[key] = (
                {**left[key], **right[key]} if key == "properties" else left[key] + right[key]
            )
    return both
