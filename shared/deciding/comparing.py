"""Whether two answers say the same: a choice, a number, a value of JSON or Python, or a short text.

An answer is read from the place where it stands: between answer tags, in a box, behind ####, behind
words such as "the answer is", or in the whole of a short text. What none of these can be read from
has no key and agrees with nothing: an answer that cannot be compared gives no ground to trust it.
"""

import re
import warnings
from ast import literal_eval
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import orjson

_SHORT_CHARS: Final = 60
_STATED_CHARS: Final = 400
_READ_CHARS: Final = 20_000
_LITERAL_CHARS: Final = 4_000
_DEEPEST: Final = 20
_DIGITS: Final = 400

_BY_TAG: Final = (
    re.compile(r"<(answer|output)>\s*(?P<said>.{1,2000}?)\s*</\1>", re.IGNORECASE | re.DOTALL),
    re.compile(r"\[ANSWER\]\s*(?P<said>.{1,2000}?)\s*(?:\[/ANSWER\]|\Z)", re.DOTALL),
)
_BOXED: Final = re.compile(r"\\boxed\{(?P<said>(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\}){1,400})\}")
_HASHES: Final = re.compile(r"^\s*#{4}[ \t]+(?P<said>[^\n]{1,400})", re.MULTILINE)
_HASHES_LAST: Final = re.compile(r"#{4}[ \t]*(?P<said>[^\n#]{1,400})\s*\Z")
_NAMED: Final = re.compile(
    r"\b(?:answer|result|output|solution|final value)\b(?!\s*\])[*`_\"]*"
    r"(?:\s+(?:to|of|for)\s+[^\n.:=]{1,80}?)?"
    r"\s*(?:is therefore|is thus|is|would be|will be|are|:|=)+[*`_ \t:]*(?=(?P<said>[^\n]{1,400}))",
    re.IGNORECASE,
)
_RETURNED: Final = re.compile(r"\breturns?:?[ \t]+[*`]*(?P<said>[\[{('\"\d-][^\n]{0,400})")
_ON_NEXT_LINE: Final = re.compile(
    r"\b(?:answer|result|output|solution)\b[*_]*\s*(?:is)?\s*:?[*_]*\s*\n+\s*"
    r"(?:```\w*\n)?(?P<said>[^\n`]{1,400})",
    re.IGNORECASE,
)
_ASSERTED: Final = re.compile(r"^\s*assert\s.{1,1000}?==\s*(?P<said>[^\n]{1,1000})", re.MULTILINE)
_FENCED: Final = re.compile(r"\A```\w*\s*\n(?P<said>.*?)\n?```\Z", re.DOTALL)

# A letter that names a choice: alone, in brackets, or before what belongs to it. A and I are words
# too, so text must not simply go on behind them.
_CHOICE: Final = re.compile(
    r"^(?:(?:option|choice)\s+)?(?:[(\[]\s*([A-Pa-p])\s*[)\]]|([A-P])"
    r"(?=$|[).:,;\]]|\s+[-(]|\s+(?:because|since|as|and not)\b|(?<![AI])\s+[a-zA-Z]))",
)
_NUMBER: Final = re.compile(r"(?<![\w.])-?\$?-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FRACTION: Final = re.compile(r"(?<![\w.])(-?\d+)\s*/\s*([1-9]\d*)(?![\w/])")
_LATEX_FRACTION: Final = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_LATEX: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_SENTENCE: Final = re.compile(r"[.!](?:\s+[A-Z(].*|\s*)$")
_ASIDE: Final = re.compile(r"\s*(?:,?\s*\b(?:because|since|so that|which)\b|\s\().*$")
_WRAPPED: Final = frozenset(
    {"answer", "final_answer", "result", "output", "choice", "value", "label"}
)
_EXPLAINED: Final = frozenset(
    {
        *("reasoning", "explanation", "rationale", "reason", "thought", "thoughts", "thinking"),
        *("steps", "confidence", "analysis", "working", "chain_of_thought"),
    }
)


def answer_key(text: str) -> str | None:
    """The same string for answers that say the same; None where there is nothing to compare."""
    said = text.strip()[-_READ_CHARS:]
    if not said:
        return None
    for place in _places(said):
        if place and (key := value_key(place)):
            return key
    numbers = _NUMBER.findall(said)
    return _number(numbers[-1]) if numbers else None


def is_stated(text: str) -> bool:
    """Whether a text says where its answer stands: it is short, or JSON, or names it."""
    return next(_places(text.strip()[-_READ_CHARS:]), None) is not None


def value_key(text: str) -> str | None:
    """The key of an answer without words around it, as from the place where it stands."""
    value = _plain(text)
    if choice := _CHOICE.match(value):
        return (choice[1] or choice[2]).upper()
    if not value or (literal := _literal(value)) is not None:
        return literal if value else None
    return _phrase_key(value) if len(value) <= _STATED_CHARS else None


def _phrase_key(value: str) -> str | None:
    short = _ASIDE.sub("", _SENTENCE.sub("", value))
    for part in (short.rpartition("=")[2].strip(), short):
        if part != value and (literal := _literal(part)) is not None:
            return literal
        if number := _only_number(part):
            return number
    words = re.sub(r"[^\w]+", " ", short).strip().casefold()
    return words if words and len(words) <= _SHORT_CHARS else None


def _places(said: str) -> Iterator[str]:
    """Where in a text its answer stands, the surest place first."""
    if fenced := _FENCED.match(said):
        yield fenced["said"].strip()
    if said[:1] in {"{", "["} and _json(said) is not None:
        yield said
    for pattern in (
        *_BY_TAG,
        _BOXED,
        _ASSERTED,
        _HASHES_LAST,
        _HASHES,
        _NAMED,
        _ON_NEXT_LINE,
        _RETURNED,
    ):
        found = None
        for found in pattern.finditer(said):  # noqa: B007  the last one is wanted
            pass
        if found is not None:
            yield found["said"].strip()
    if len(said) <= _SHORT_CHARS:
        yield said


def _plain(text: str) -> str:
    """Without what sets a value off: emphasis, dollars of a formula, tags, an assertion."""
    value = text.strip()
    if (asserted := _ASSERTED.match(value)) is not None:
        value = asserted["said"].strip()
    value = _LATEX_FRACTION.sub(r"\1/\2", _LATEX.sub(r"\1", value))
    value = value.replace("\N{MINUS SIGN}", "-").replace("\\$", "$").replace("\\%", "%")
    value = re.sub(r"\\[,;! ()\[\]]", " ", value)
    # Emphasis and code marks stand around a value, also around its first part only.
    value = re.sub(r"^[*`_\s]+|[*`\s]+$", "", value)
    value = re.sub(r"(\*\*|`)", "", value) if value.count("**") % 2 or "`" in value else value
    if len(value) > 1 and value[0] == value[-1] == "$":
        value = value[1:-1].strip()
    return re.sub(r"^(?:\\boxed\{)(.*)\}$", r"\1", value)


def _literal(text: str) -> str | None:
    """The key of a value written as JSON or Python; None where it is neither."""
    value = text[:-1].rstrip() if text[-1:] in {".", ";"} else text
    if not value or value[0] not in "{[(\"'-0123456789tTfFnNbsr":
        return None
    parsed = _json(value)
    if parsed is None:
        parsed = _python(value)
    if parsed is None:
        return None
    (found,) = parsed
    try:
        return _told(found)
    except RecursionError:
        return None


def _python(text: str) -> tuple[Any] | None:
    """A value of Python's, in a tuple of one."""
    if len(text) > _LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong escape in a text is no concern of ours
            return (literal_eval(text),)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _told(value: Any) -> str | None:
    """A whole answer's key from its value; what wraps an answer with its reasons is taken off."""
    for _ in range(_DEEPEST):
        if not isinstance(value, dict):
            break
        names = {str(name).casefold(): name for name in value}
        inner = [name for name in names if name in _WRAPPED]
        if len(inner) != 1 or any(name not in _EXPLAINED for name in names if name != inner[0]):
            break
        value = value[names[inner[0]]]
    if isinstance(value, str):
        text = value.strip()
        if choice := _CHOICE.match(text):
            return (choice[1] or choice[2]).upper() if len(text) <= _SHORT_CHARS else None
        return _number(text) or text or "''"
    return _canonical(value)


def _canonical(value: Any) -> str:
    """One spelling for equal values."""
    tell: Callable[[Any], str] = _canonical
    if value is None or isinstance(value, bool):
        return str(value).casefold()
    if isinstance(value, int | float):
        return _number(repr(value)) or repr(value)
    if isinstance(value, dict):
        pairs = sorted(f"{tell(name)}:{tell(held)}" for name, held in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ",".join(sorted(map(tell, value))) + "}"
    if isinstance(value, list | tuple):
        inner = ",".join(map(tell, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
    return orjson.dumps(value).decode() if isinstance(value, str) else repr(value)


def _only_number(text: str) -> str | None:
    """The number in a short text; of several all, for two such answers must share each."""
    fractions = _FRACTION.findall(text)
    if len(fractions) == 1 and len(_NUMBER.findall(text)) <= 2:  # noqa: PLR2004
        return _ratio(Fraction(int(fractions[0][0]), int(fractions[0][1])))
    found = [key for number in _NUMBER.findall(text) if (key := _number(number))]
    return ";".join(found) or None


def _ratio(value: Fraction) -> str:
    """A fraction as a decimal number where it is one."""
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    return _spelled(decimal) if Fraction(decimal) == value else str(value)


def _spelled(value: Decimal) -> str:
    """Without an exponent, a sign of zero, or zeros that say nothing; exact however long."""
    told = f"{value:f}"
    told = told.rstrip("0").rstrip(".") if "." in told else told
    return "0" if told in {"-0", ""} else told


def _number(text: str) -> str | None:
    bare = text.replace(",", "").replace("$", "").strip()
    if not bare or bare[0] not in "-+.0123456789":
        return None
    try:
        value = Decimal(bare)
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > _DIGITS:
        return None
    return _spelled(value)


def _json(text: str) -> tuple[Any] | None:
    """A JSON value in a tuple of one, for null is a value as well."""
    try:
        return (orjson.loads(text),)
    except orjson.JSONDecodeError:
        return None
