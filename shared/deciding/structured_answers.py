"""Whether the parts of an answer that a machine will read can be read: JSON, schemas, code.

Each function returns what is wrong in a few words, or None. None raises: what is too large or too
deep to be checked cheaply counts as right.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.domain.inference import JsonObject

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_MAX_JSON_CHARS: Final = 2_000_000
_MAX_SCHEMA_BYTES: Final = 200_000
_MAX_CODE_CHARS: Final = 20_000
_MAX_BLOCKS: Final = 8
_MAX_ANSWER_CHARS: Final = 200_000  # of an answer, read for its code

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w+)[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_NOT_PLAIN_PYTHON = re.compile(r"^[ \t]*(?:>>>|[!%]|\$ |\.\.\.[ \t]*$)", re.MULTILINE)
# The parser recurses on nesting: this deep it is no answer but an attack.
_DEEP = re.compile(r"[(\[{]{50}|(?:(?:not|-|~|lambda:|await) ?){200}")


def not_json(text: str) -> str | None:
    """Why a text is not the JSON object that JSON mode promises."""
    if len(text) > _MAX_JSON_CHARS:
        return None
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return "invalid JSON"
    return None if isinstance(value, dict | list) else "JSON, but neither object nor list"


def schema_violation(response_format: JsonObject | None, text: str) -> str | None:
    """How a JSON text breaks the schema that was sent; a schema that is none binds nothing."""
    schema = _schema_of(response_format)
    if schema is None or len(text) > _MAX_JSON_CHARS:
        return None
    try:
        validator = _validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
        if validator is None or validator.is_valid(orjson.loads(text)):
            return None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, UnicodeEncodeError):
        return None
    except ValueError:  # a pattern that gave up, a reference that leads nowhere
        return None
    return "violates the JSON schema"


def broken_code(text: str) -> str | None:
    """Which fenced block, if any, does not parse."""
    for number, match in enumerate(_FENCE.finditer(text[:_MAX_ANSWER_CHARS])):
        language, code = match[1].lower(), match[2]
        if number >= _MAX_BLOCKS:
            break
        if language in ("python", "py", "python3") and not _is_python(code):
            return "Python code that does not parse"
        if language == "json" and not _is_json(code):
            return "a JSON block that does not parse"
    return None


def broken_arguments(body: JsonObject) -> str | None:
    """Whether a tool call's arguments are no JSON object, in an OpenAI-shaped answer."""
    for call in _tool_calls(body):
        function = call.get("function") if isinstance(call, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(arguments, str) and len(arguments) > _MAX_JSON_CHARS:
            continue
        try:
            value = orjson.loads(arguments) if isinstance(arguments, str) else arguments
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            return "a tool call with invalid arguments"
        if not isinstance(value, Mapping):
            return "a tool call without an object of arguments"
    return None


def _tool_calls(body: JsonObject) -> list[Any]:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list | tuple) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    return list(calls) if isinstance(calls, list | tuple) else []


def _schema_of(response_format: JsonObject | None) -> Mapping[str, Any] | None:
    if not response_format or response_format.get("type") != "json_schema":
        return None
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> "Validator | None":
    """The compiled schema; references to other hosts are never followed, patterns are linear."""
    if len(schema) > _MAX_SCHEMA_BYTES:
        return None
    from jsonschema_rs import RegexOptions, validator_for  # 16 ms: only where a schema is asked

    try:
        return validator_for(orjson.loads(schema), offline=True, pattern_options=RegexOptions())
    except (ValueError, TypeError):
        return None


def _is_json(code: str) -> bool:
    if len(code) > _MAX_CODE_CHARS:
        return True
    try:
        orjson.loads(code)
    except UnicodeEncodeError:
        return False
    except orjson.JSONDecodeError:
        # Examples are often abridged or commented; those are meant for people.
        return "..." in code or "//" in code or "…" in code
    return True


def _is_python(code: str) -> bool:
    if len(code) > _MAX_CODE_CHARS or _NOT_PLAIN_PYTHON.search(code) or _DEEP.search(code):
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the model's strings
        try:
            ast.parse(dedent(code))
        except (RecursionError, MemoryError):
            return True
        except (SyntaxError, ValueError):
            return False
    return True
