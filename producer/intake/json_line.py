"""One line's JSON, refused where it could not be kept or would mean something else when kept.

What the parser would let through and this does not: nesting beyond `MAX_DEPTH`, whole numbers
beyond 64 bits (they would turn into rounded floats), NUL characters (PostgreSQL keeps none), and
fields given twice (the last one would win).
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from producer.intake.refusal import Refusal

MAX_DEPTH: Final = 32
"""A body of tools with schemas of schemas takes about a dozen levels."""

_QUOTED: Final = {
    name: b'"%b"' % name.encode()
    for name in (
        "custom_id", "prompt", "messages", "model", "max_tokens", "temperature", "method", "url",
        "body",
    )
}  # fmt: skip
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+', re.DOTALL)
_LONG_NUMBER: Final = b"0" * 19
_WHOLE_NUMBER: Final = re.compile(rb"(?<![0-9.eE+\-])-?[0-9]{19,}(?![0-9.eE])")
# Digits alike and opening brackets alike, so that one pass tells whether to look closer: a regular
# expression takes ten times as long.
_ALIKE: Final = bytes.maketrans(b"123456789[{", b"000000000((")
_BRACKETS: Final = bytes.maketrans(b"[{]}", b"(())")
_OTHERS: Final = bytes(sorted(set(range(256)) - set(b"[{]}")))


def parse_line(content: bytes) -> Mapping[str, Any]:
    """The object on a line; raises Refusal."""
    alike = content.translate(_ALIKE)
    if alike.count(b"(") > MAX_DEPTH:
        check_depth(content)
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _reason(content, str(error)) from None
    if b"\\" in content and b"\\u0000" in content and _has_nul(parsed):
        raise Refusal("nul_character", None, r"take the NUL character (\u0000) out of the line")
    if _LONG_NUMBER in alike:
        _check_numbers(content)
    if not isinstance(parsed, dict):
        raise Refusal("not_an_object", None, "a line must be a JSON object: {...}")
    # Each field has its colon: where there are no more of them none is given twice.
    if content.count(b":") != len(parsed) and (
        _may_repeat(content, parsed) or _may_repeat(content, parsed.get("body"))
    ):
        json.loads(content, object_pairs_hook=_without_repetition)
    return parsed


def _may_repeat(content: bytes, fields: object) -> bool:
    """Whether a field's name stands more than once on the line, perhaps as a value: cheap, and
    enough to leave nearly all lines out of the exact check.
    """
    if not isinstance(fields, dict):
        return False
    for name in fields:  # noqa: SIM110 - a generator costs more than the counting
        if content.count(_QUOTED.get(name) or b'"%b"' % name.encode()) > 1:
            return True
    return False


def _without_repetition(pairs: list[tuple[str, Any]]) -> None:
    # Of a name given twice the parser keeps the last value, so the first would silently be lost.
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise Refusal("duplicate_key", name[:64], "the field is given twice: keep one of them")


def _reason(content: bytes, problem: str) -> Refusal:
    if b"\x00" in content:
        return Refusal("nul_character", None, "take the NUL character out of the line")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return Refusal(
            "invalid_encoding", None, f"the line is not UTF-8 (byte {error.start + 1}); save it so"
        )
    if "surrogate" in problem:
        return Refusal("invalid_encoding", None, "half of a surrogate pair: no character; mend it")
    if "infinity" in problem:
        return Refusal("invalid_value", None, "a number is too large for a JSON number of 64 bits")
    # The parser's own words name a kind of mistake and a place, never the text.
    place = re.search(r"\(char (\d+)\)", problem)
    where = f" at character {int(place[1]) + 1}" if place else ""
    return Refusal("invalid_json_line", None, f"the line is not valid JSON{where}")


def check_depth(content: bytes) -> None:
    """Raises Refusal for JSON that nests deeper than `MAX_DEPTH`; looks at nothing else."""
    # Each round takes off the innermost pairs, so the rounds are the depth; what closes nothing
    # or is never closed remains and is told apart by the parser unless it is too deep itself.
    brackets = _STRING.sub(b"", content).translate(_BRACKETS, _OTHERS)
    for _ in range(MAX_DEPTH):
        shorter = brackets.replace(b"()", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if brackets.count(b"(") > MAX_DEPTH or b"()" in brackets:
        raise Refusal("nested_too_deeply", None, f"nest at most {MAX_DEPTH} levels deep")


def _check_numbers(content: bytes) -> None:
    for match in _WHOLE_NUMBER.finditer(_STRING.sub(b'""', content)):
        digits = match[0].lstrip(b"-")
        if len(digits) > 20 or not -(2**63) <= int(match[0]) < 2**64:  # noqa: PLR2004  (2^64 has 20 digits)
            raise Refusal("invalid_value", None, "a whole number has more than 64 bits")


def _has_nul(value: object) -> bool:
    """Whether any key or string holds a NUL; the nesting is bounded by now."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in key or _has_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))
