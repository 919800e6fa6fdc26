"""Tokens: how the simulator counts text, and what a call's usage consists of."""

from dataclasses import dataclass
from typing import Final

MILLION: Final = 1_000_000
TOKENS_PER_MESSAGE: Final = 4
_BYTES_PER_TOKEN: Final = 4


def tokens_in(text_bytes: int) -> int:
    """Tokens of so many UTF-8 bytes of text: a quarter of them, rounded up."""
    return -(-text_bytes // _BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Usage:
    """A call's tokens in five disjoint parts; each wire reports them in its own arrangement."""

    fresh_input: int
    cached_input: int = 0
    cache_write: int = 0
    visible_output: int = 0
    reasoning: int = 0

    @property
    def total_input(self) -> int:
        """All input tokens, however they are priced."""
        return self.fresh_input + self.cached_input + self.cache_write

    @property
    def total_output(self) -> int:
        """All output tokens; reasoning is priced as output on every wire."""
        return self.visible_output + self.reasoning


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """How a scenario bends the reported usage. Shares and factor are in millionths.

    reasoning_tokens: spent before the visible answer, within max_tokens like a vendor's.
    overreport: a factor on every count, for providers that report more than anyone reserved.
    """

    cached_share: int = 0
    cache_write_share: int = 0
    reasoning_tokens: int = 0
    overreport: int = MILLION


def measure(
    wire: str, input_tokens: int, visible: int, reasoning: int, options: UsageOptions
) -> Usage:
    """The usage of a call. Gemini and Cohere have no cache-write tokens in their formats."""
    grow = options.overreport
    total = _scaled(input_tokens, grow)
    cached = total * options.cached_share // MILLION
    written = total * options.cache_write_share // MILLION
    if wire in ("gemini", "cohere"):
        written = 0
    return Usage(
        fresh_input=total - cached - written,
        cached_input=cached,
        cache_write=written,
        visible_output=_scaled(visible, grow),
        reasoning=_scaled(reasoning, grow),
    )


def _scaled(tokens: int, millionths: int) -> int:
    return -(-tokens * millionths // MILLION)
