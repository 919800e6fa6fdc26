"""A model's price as the catalog's file gives it: USD per million tokens, made exact.

What a file leaves out is taken at its dearest plausible value, so that a bound made from it holds:
cached input at the input price, a cache write at the input price (on the Anthropic wire at 1.25
times of it, 2 times for the one-hour cache, as that provider lists them).
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from shared.catalog.spec import Price, Rates, WireName
from shared.catalog.toml_table import Table

NUSD_PER_TOKEN: Final = Fraction(1000)
"""Of a price of 1 USD per million tokens."""

PRICE_KEYS: Final = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
)


def rates_of(usd_per_mtok: Sequence[Decimal | None], wire: WireName) -> Rates:
    """Exact rates per token from prices per million, in the order of `PRICE_KEYS`.

    What is None is filled by the rule above; raises ValueError where input or output is.
    """
    fresh, output, cached, write, write_1h = usd_per_mtok
    if fresh is None or output is None:
        raise ValueError("half a price is none")
    anthropic = wire is WireName.ANTHROPIC
    if write is None:
        write = fresh * Decimal("1.25") if anthropic else fresh
    if write_1h is None:
        write_1h = max(write, fresh * 2) if anthropic else write
    figures = (fresh, output, fresh if cached is None else cached, write, write_1h)
    return Rates(*(Fraction(figure) * NUSD_PER_TOKEN for figure in figures))


def read_price(table: Table, wire: WireName, batch_discount: Fraction) -> Price | None:
    """The price a model's table names, None where it names none at all.

    Refuses a price of which input or output is missing: half a price is none.
    """
    if not any(key in table for key in (*PRICE_KEYS, "above")):
        return None
    return Price(_rates(table, wire), tuple(_above(table, wire)), batch_discount)


def _above(table: Table, wire: WireName) -> list[tuple[int, Rates]]:
    steps = table.raw("above", [])
    if not isinstance(steps, list):
        table.refuse("above", "must be a list of tables")
    above: list[tuple[int, Rates]] = []
    for number, values in enumerate(steps, start=1):
        step = table.inner(f"above, {number}.", values, ("input_tokens", *PRICE_KEYS))
        threshold = step.whole("input_tokens")
        if above and threshold <= above[-1][0]:
            step.refuse("input_tokens", "must be more than in the step before")
        above.append((threshold, _rates(step, wire)))
    return above


def _rates(table: Table, wire: WireName) -> Rates:
    required = [table.number(key) for key in PRICE_KEYS[:2]]
    optional = [table.number(key) if key in table else None for key in PRICE_KEYS[2:]]
    return rates_of([*required, *optional], wire)
