"""How long a provider asks us to wait, in all the dialects it may be said in; pure.

In order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), a `RetryInfo.retryDelay` in the
body, "try again in 3.89s" in the message, and last the resets of exhausted rate-limit headers (Go
durations, seconds, Unix times, RFC 3339).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_S: Final = 30 * 24 * 3600.0
_UNITS: Final = {
    "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_UNIT: Final = r"(?:milliseconds?|ms|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|us|µs|μs|ns)"
_PART: Final = re.compile(rf"(\d{{1,15}}(?:\.\d{{1,15}})?)\s?({_UNIT})(?![a-z])", re.IGNORECASE)
_DURATION: Final = re.compile(
    rf"(?:\d{{1,15}}(?:\.\d{{1,15}})?\s?{_UNIT}[\s,]{{0,2}})+", re.IGNORECASE
)
_IN_TEXT: Final = re.compile(
    rf"(?:try again|retry|wait)\s+(?:in|after|for)?\s*(?:about\s+)?({_DURATION.pattern})",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,9})?")
_UNIX_S, _UNIX_MS = 1e9, 1e12
_TEXT_LIMIT: Final = 2000


def retry_after_s(
    headers: Mapping[str, str], message: str, now: datetime, *, retry_delay: str | None = None
) -> float | None:
    """Seconds to wait, 0 at least and `LONGEST_S` at most; None where nothing is said.

    headers: lower-case names. message: the error's text. retry_delay: as in Google's RetryInfo.
    """
    for wait in _said(headers, message, now, retry_delay):
        if wait is not None:
            return min(max(0.0, wait), LONGEST_S)
    return None


def duration_s(text: str) -> float | None:
    """Seconds of a duration such as "6m0s", "20ms", "10h17m5.7s" or "46 seconds"."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _scale(unit) for number, unit in _PART.findall(text))


def reset_s(text: str, now: datetime) -> float | None:
    """Seconds until a reset: a number of them, a duration, a Unix time or one of RFC 3339."""
    number = _number(text)
    if number is not None:
        if number >= _UNIX_MS:
            return number / 1000 - now.timestamp()
        return number - now.timestamp() if number >= _UNIX_S else number
    duration = duration_s(text)
    if duration is not None:
        return duration
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - now).total_seconds()
    except (ValueError, OverflowError):
        return None


def _said(
    headers: Mapping[str, str], message: str, now: datetime, retry_delay: str | None
) -> Iterator[float | None]:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    yield None if milliseconds is None else milliseconds / 1000
    yield _seconds_or_date(headers.get("retry-after", ""), now)
    yield duration_s(retry_delay) if retry_delay else None
    found = _IN_TEXT.search(message[:_TEXT_LIMIT])
    yield duration_s(found[1]) if found else None
    yield _exhausted_reset(headers, now)


def _seconds_or_date(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    duration = duration_s(text)
    if duration is not None or not text:
        return duration
    try:
        moment = parsedate_to_datetime(text.strip())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _exhausted_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """The latest reset among the limits of which nothing remains."""
    waits: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name or "reset" not in name:
            continue
        remaining = headers.get(name.replace("reset", "remaining"))
        if remaining is not None and _number(remaining) != 0:
            continue
        wait = reset_s(value, now)
        if wait is not None:
            waits.append(wait)
    return max(waits, default=None)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _scale(unit: str) -> float:
    unit = unit.lower()
    if unit.startswith("milli"):
        return _UNITS["ms"]
    return _UNITS.get(unit) or _UNITS[unit[0]]
