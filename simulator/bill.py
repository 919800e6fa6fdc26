"""The provider's own bill in integer nano-dollars: the oracle of every money test.

Each call is priced from its usage and rounded up once. Nothing here is shared with the programs
that are tested against it.
"""

from dataclasses import dataclass
from typing import Any

from simulator.prices import ATTO_PER_NANO, Price, Rates
from simulator.usage import Usage


def cost_nusd(wire: str, price: Price, usage: Usage) -> int:
    """Nano-dollars of one call, rounded up to a whole one.

    Cohere bills from its billed units, which know only input and output: no cache discount.
    """
    rates = price.rates_for(usage.total_input)
    if wire == "cohere":
        atto = usage.total_input * rates.input
    else:
        atto = (
            usage.fresh_input * rates.input
            + usage.cached_input * rates.cached_input
            + usage.cache_write * _cache_write(wire, rates)
        )
    atto += usage.total_output * rates.output
    return -(-atto // ATTO_PER_NANO)


def _cache_write(wire: str, rates: Rates) -> int:
    """Where the table names no price, Anthropic takes 1.25 times the input's, others the same."""
    if rates.cache_write is not None:
        return rates.cache_write
    return rates.input * 5 // 4 if wire == "anthropic" else rates.input


@dataclass(slots=True)
class Line:
    """A sum of calls. `input_tokens` includes cached and cache-write tokens, output reasoning."""

    calls: int = 0
    cost_nusd: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, cost: int, usage: Usage) -> None:
        """Count one call."""
        self.calls += 1
        self.cost_nusd += cost
        self.input_tokens += usage.total_input
        self.cached_tokens += usage.cached_input
        self.cache_write_tokens += usage.cache_write
        self.output_tokens += usage.total_output
        self.reasoning_tokens += usage.reasoning


class Bill:
    """What is owed, in all, by model and by key."""

    def __init__(self) -> None:
        self._total = Line()
        self._by_model: dict[str, Line] = {}
        self._by_key: dict[str, Line] = {}

    def charge(self, model: str, key_label: str, cost: int, usage: Usage) -> None:
        """Put one call on the bill."""
        self._total.add(cost, usage)
        for lines, name in ((self._by_model, model), (self._by_key, key_label)):
            line = lines.get(name)
            if line is None:
                line = lines[name] = Line()
            line.add(cost, usage)

    def as_json(self) -> dict[str, Any]:
        """The bill as the control endpoint shows it."""
        return {
            "total_nusd": self._total.cost_nusd,
            "calls": self._total.calls,
            "by_model": self._by_model,
            "by_key": self._by_key,
        }
