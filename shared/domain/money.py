"""Money: integers of nano-dollars (1 USD = 1,000,000,000), never a float.

A price of 1 USD per million tokens is exactly 1,000 nano-dollars per token, so list prices down to
a thousandth of a dollar per million tokens are whole numbers per token; finer ones are kept as
fractions until one attempt's sum is rounded up (`shared.catalog.pricing`).
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

NUSD_PER_USD = 1_000_000_000

MAX_NUSD = 9_000_000_000_000_000
"""Largest amount a limit may have: 9 million USD. Above 2^53 Redis's Lua numbers lose units."""


def nusd_from_usd(usd: str | float | Decimal) -> int:
    """Nano-dollars of an amount in dollars, rounded up to the next whole one.

    Floats are read through their shortest decimal form, so 0.1 means one tenth exactly.
    Raises ValueError for what is not a finite, non-negative amount of at most `MAX_NUSD`.
    """
    try:
        amount = Decimal(str(usd)) * NUSD_PER_USD
    except InvalidOperation:
        raise ValueError(f"not an amount in USD: {str(usd)[:40]!r}") from None
    if not amount.is_finite() or amount < 0 or amount > MAX_NUSD:
        raise ValueError("an amount in USD must lie between 0 and 9,000,000")
    return int(amount.to_integral_value(rounding=ROUND_CEILING))


def usd_from_nusd(nusd: int) -> str:
    """The amount in dollars as a plain decimal string, exact: 1500000 -> "0.0015"."""
    sign = "-" if nusd < 0 else ""
    whole, rest = divmod(abs(nusd), NUSD_PER_USD)
    fraction = f"{rest:09d}".rstrip("0")
    return f"{sign}{whole}.{fraction or '0'}"
