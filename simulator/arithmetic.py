"""Simple sums found in a prompt and worked out exactly."""

import re
from fractions import Fraction
from typing import Final

_WORDS: Final = (
    (re.compile(r"\b(?:multiplied by|times)\b"), "*"),
    (re.compile(r"\b(?:divided by|over)\b"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b"), "-"),
    (re.compile(r"(?<=\d)\s*[x\u00d7](?=\s*\d)"), "*"),
    (re.compile(r"\u00f7"), "/"),
    (re.compile(r"[\u2212\u2013]"), "-"),
)
_PERCENT: Final = re.compile(
    r"(\d{1,9}(?:\.\d{1,6})?)\s*(?:%|percent)\s+of\s+(\d{1,9}(?:\.\d{1,6})?)"
)
_SUM: Final = re.compile(
    r"(?:(?<![\w)])-)?[(\s]*\d[\d.,()\s]*(?:[-+*/]\s*-?\s*\(*\s*\d[\d.,()\s]*)+"
)
_TOKEN: Final = re.compile(r"\d+(?:\.\d+)?|[-+*/()]")
_DATE: Final = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}")
_CUE: Final = re.compile(
    r"what(?: is|'s)|how much|calculate|compute|evaluate|solve|work out|=|answer"
)
_MOST_CHARS: Final = 400
_MOST_TOKENS: Final = 40
_MOST_DIGITS: Final = 15


def work_out(prompt: str) -> str | None:
    """The value of the first sum in a short prompt, as digits; None where there is none."""
    if len(prompt) > _MOST_CHARS:
        return None
    text = _DATE.sub(" ", prompt.lower())
    if found := _PERCENT.search(text):
        return _shown(Fraction(found[1]) * Fraction(found[2]) / 100)
    for pattern, sign in _WORDS:
        text = pattern.sub(sign, text)
    found = _SUM.search(text)
    if found is None or not (_CUE.search(text) or len(found[0]) > len(text) // 2):
        return None  # "2-3 sentences" is no sum
    tokens = _TOKEN.findall(re.sub(r"(?<=\d),(?=\d{3})", "", found[0]))
    if len(tokens) > _MOST_TOKENS or any(len(token) > _MOST_DIGITS for token in tokens):
        return None
    try:
        return _shown(_Sum(tokens).value())
    except (ZeroDivisionError, IndexError, ValueError):
        return None


class _Sum:
    """Recursive descent over tokens: sums of products of numbers and brackets."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0

    def value(self) -> Fraction:
        """The whole expression's value. Raises ValueError for what is none."""
        value = self._sum()
        if self._tokens[self._at]:
            raise ValueError(self._tokens[self._at])
        return value

    def _sum(self) -> Fraction:
        value = self._product()
        while (sign := self._tokens[self._at]) in ("+", "-") and sign:
            self._at += 1
            value = value + self._product() if sign == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while (sign := self._tokens[self._at]) in ("*", "/") and sign:
            self._at += 1
            value = value * self._factor() if sign == "*" else value / self._factor()
        return value

    def _factor(self) -> Fraction:
        sign = self._tokens[self._at]
        self._at += 1
        if sign == "-":
            return -self._factor()
        if sign != "(":
            return Fraction(sign)
        value = self._sum()
        if self._tokens[self._at] != ")":
            raise ValueError(sign)
        self._at += 1
        return value


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.6f}".rstrip("0").rstrip(".")
