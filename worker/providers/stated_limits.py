"""What a provider says of its limits in the headers of any answer; pure.

Read are limits, what remains and when all is there again, of requests and of tokens, in the names
of OpenAI's family (`x-ratelimit-limit-requests`), of Anthropic (`anthropic-ratelimit-requests-
limit`) and their like, also of input and of output tokens apart. Limits of a day are passed over.
Headers hardly say which time a limit is about, so but for Anthropic's one is believed to be a
minute's only where its reset fits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from worker.providers.retry_after import reset_s

_WORDS: Final = re.compile(r"[-_]")
_ROLES: Final = frozenset({"limit", "remaining", "reset"})
_OTHER_TIMES: Final = frozenset({"second", "hour", "day", "daily", "month", "monthly"})
_PARTS: Final = frozenset({"input", "output"})
_OF_A_MINUTE: Final = frozenset({"minute", "anthropic"})
_PARTS_OF_ALL: Final = frozenset({"cached", "priority", "fast", "images"})
_MINUTE_S: Final = 60.0
_SLACK_S: Final = 5.0
# A key of whose minute a thirtieth is used says so in its reset; a limit of a second never does.
_SURELY_NO_SECOND_S: Final = 2.0
_NEAR: Final = 20
_COUNT: Final = re.compile(r"\d{1,15}(?:\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit as last stated. longest_s: the longest reset seen, None where none is told;
    is_minute: it says so by its name.
    """

    limit: int
    remaining: int | None = None
    longest_s: float | None = None
    is_minute: bool = False

    def per_minute(self, configured: int | None) -> int | None:
        """The limit, where it may be taken for a minute's; configured: as the catalog has it.

        One that resets within two seconds may be a second's. It is believed where the catalog's is
        of the same order, for a second's would be a sixtieth of it.
        """
        if self.longest_s is not None and self.longest_s > _MINUTE_S + _SLACK_S:
            return None
        if self.is_minute or (self.longest_s or 0.0) >= _SURELY_NO_SECOND_S:
            return self.limit
        near = configured is not None and self.limit * _NEAR >= configured
        return self.limit if near else None


@dataclass(frozen=True, slots=True)
class Stated:
    """What a provider's answers stated so far about one key."""

    requests: Gauge | None = None
    tokens: Gauge | None = None
    inputs: Gauge | None = None
    outputs: Gauge | None = None

    def rpm(self, configured: int | None) -> int | None:
        """Requests a minute as stated; None where nothing credible is."""
        return None if self.requests is None else self.requests.per_minute(configured)

    def tpm(self, configured: int | None) -> int | None:
        """Tokens a minute as stated; None where nothing credible is."""
        return None if self.tokens is None else self.tokens.per_minute(configured)

    def input_tpm(self, configured: int | None) -> int | None:
        """Input tokens a minute as stated; None where nothing credible is."""
        return None if self.inputs is None else self.inputs.per_minute(configured)

    def output_tpm(self, configured: int | None) -> int | None:
        """Output tokens a minute as stated; None where nothing credible is."""
        return None if self.outputs is None else self.outputs.per_minute(configured)

    def heard(self, headers: Mapping[str, str], now: datetime) -> "Stated":
        """With what the headers of one more answer say; names in any case."""
        said = _said(headers, now)
        if not said:
            return self
        return replace(
            self,
            requests=_newer(self.requests, said.get("requests")),
            tokens=_newer(self.tokens, said.get("tokens")),
            inputs=_newer(self.inputs, said.get("input")),
            outputs=_newer(self.outputs, said.get("output")),
        )


NOTHING_STATED: Final = Stated()


@dataclass(slots=True)
class _Said:
    figures: dict[str, float] = field(default_factory=dict)
    is_minute: bool = False


def _said(headers: Mapping[str, str], now: datetime) -> dict[str, _Said]:
    said: dict[str, _Said] = {}
    for name, value in headers.items():
        lower = name.lower()
        if "ratelimit" not in lower:
            continue
        words = set(_WORDS.split(lower))
        role = next(iter(words & _ROLES), None)
        if role is None or words & _OTHER_TIMES or words & _PARTS_OF_ALL:
            continue
        figure = reset_s(value, now) if role == "reset" else _count(value)
        if figure is not None:
            kind = "tokens" if "tokens" in words else "requests"
            kind = next(iter(words & _PARTS), kind)
            one = said.setdefault(kind, _Said())
            one.figures[role] = figure
            one.is_minute = one.is_minute or bool(words & _OF_A_MINUTE)
    return said


def _newer(before: Gauge | None, said: _Said | None) -> Gauge | None:
    """The limit as stated now: where it changed, what was seen of the old one counts no more."""
    if said is None or (limit := int(said.figures.get("limit", 0))) <= 0:
        return before
    longest = said.figures.get("reset")
    if before is not None and before.limit == limit and before.longest_s is not None:
        longest = max(before.longest_s, longest or 0.0)
    remaining = said.figures.get("remaining")
    return Gauge(limit, None if remaining is None else int(remaining), longest, said.is_minute)


def _count(text: str) -> float | None:
    text = text.strip()
    return float(text) if _COUNT.fullmatch(text) else None
