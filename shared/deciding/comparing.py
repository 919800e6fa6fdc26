"""Whether two answers say the same: a choice, a number, a JSON value, or a short text.

What none of these can be read from has no key and agrees with nothing: an answer that cannot be
compared gives no ground to trust it.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import orjson

_SHORT_CHARS: Final = 60
_READ_CHARS: Final = 20_000

_SAID = re.compile(
    r"(?:answer|result|output|solution)(?: is|:|\s*=)+\s*\**\s*(?P<said>[^\n]{1,200})",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,100})\}")
_CHOICE = re.compile(r"^\W*([A-J])(?:\W|$)")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def answer_key(text: str) -> str | None:
    """The same string for answers that say the same; None where there is nothing to compare."""
    said = text.strip()[-_READ_CHARS:]
    if not said:
        return None
    if said[0] in "{[" and (value := _json(said)) is not None:
        return value
    for last in (
        _last(_BOXED, said),
        _last(_SAID, said),
        said if len(said) <= _SHORT_CHARS else "",
    ):
        if last and (key := _short(last)):
            return key
    numbers = _NUMBER.findall(said)
    return _number(numbers[-1]) if numbers else None


def is_stated(text: str) -> bool:
    """Whether a text says where its answer stands: it is short, or JSON, or names it."""
    said = text.strip()[-_READ_CHARS:]
    if len(said) <= _SHORT_CHARS or (said[0] in "{[" and _json(said) is not None):
        return True
    return bool(_BOXED.search(said) or _SAID.search(said))


def _last(pattern: re.Pattern[str], text: str) -> str:
    found: list[str] = pattern.findall(text)
    return found[-1] if found else ""


def _short(text: str) -> str | None:
    """The key of the place where the answer stands."""
    if choice := _CHOICE.match(text):
        return choice[1]
    if (found := _NUMBER.search(text)) and (number := _number(found[0])):
        return number
    words = re.sub(r"[^\w]+", " ", text).strip().casefold()
    return words if words and len(words) <= _SHORT_CHARS else None


def _number(text: str) -> str | None:
    try:
        value = Decimal(text.replace(",", "").replace("$", ""))
    except InvalidOperation:
        return None
    return f"{value.normalize():f}"


def _json(text: str) -> str | None:
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONDecodeError:
        return None
