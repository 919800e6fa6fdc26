"""List prices and context windows of known models, from the maintained library genai-prices.

Used where the catalog names no price. Offline: the figures are those of the installed version. Its
prices for batches equal the full ones, so a batch discount is never taken from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from shared.catalog.price_reading import rates_of
from shared.catalog.spec import Price, ProviderSpec, Rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_HALF_HOURS = 48

# in the order of `price_reading.PRICE_KEYS`
_KEYS = (
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the library knows of a model. None for a figure it does not have."""

    price: Price | None
    context_window: int | None


def listed(
    provider: ProviderSpec,
    upstream: str,
    batch_discount: Fraction,
    now: datetime,
    *,
    writes: bool = True,
) -> Listed:
    """Look a model up by its provider (name, else address) and upstream name. A model that writes
    nothing has no price for output, which is 0 then.

    Where the price changes with the time of day, the dearest of the day is given for each kind of
    token: what is reserved must cover every hour.
    """
    model = _find(provider, upstream)
    if model is None:
        return Listed(None, None)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    moments = (midnight + timedelta(minutes=30 * step) for step in range(_HALF_HOURS))
    of_the_day: dict[int, ModelPrice] = {}
    for moment in moments:
        found = model.get_prices(moment)
        of_the_day[id(found)] = found
    prices = list(of_the_day.values())
    return Listed(_price(prices, provider, batch_discount, writes=writes), model.context_window)


def _find(provider: ProviderSpec, upstream: str) -> "ModelInfo | None":
    from genai_prices.data_snapshot import get_snapshot  # 130 ms: only where a price is looked up

    snapshot = get_snapshot()
    for name, url in ((provider.name, None), (None, provider.base_url or None)):
        if name is None and url is None:
            continue
        try:
            return snapshot.find_provider_model(upstream, None, name, url)[1]
        except LookupError:
            continue
    return None


def _price(
    prices: "list[ModelPrice]", provider: ProviderSpec, batch_discount: Fraction, *, writes: bool
) -> Price | None:
    if any(p.input_mtok is None or (writes and p.output_mtok is None) for p in prices):
        return None
    thresholds = sorted({start for price in prices for start in _thresholds(price)})
    base = _dearest([_rates(price, 0, provider) for price in prices])
    above = tuple(
        (start, _dearest([_rates(price, start + 1, provider) for price in prices]))
        for start in thresholds
    )
    return Price(base, above, batch_discount)


def _thresholds(price: "ModelPrice") -> Iterator[int]:
    for key in _KEYS:
        yield from (tier.start for tier in getattr(getattr(price, key), "tiers", ()))


def _rates(price: "ModelPrice", input_tokens: int, provider: ProviderSpec) -> Rates:
    """The library's price of each kind of token for a call with so many input tokens."""
    given: list[Decimal | None] = []
    for key in _KEYS:
        value = getattr(price, key)
        if value is not None and not isinstance(value, Decimal):
            crossed = [tier.price for tier in value.tiers if input_tokens > tier.start]
            value = crossed[-1] if crossed else value.base
        given.append(value)
    if given[1] is None:
        given[1] = Decimal(0)
    return rates_of(given, provider.wire)


def _dearest(rates: list[Rates]) -> Rates:
    return Rates(
        input=max(one.input for one in rates),
        output=max(one.output for one in rates),
        cached_input=max(one.cached_input for one in rates),
        cache_write=max(one.cache_write for one in rates),
        cache_write_1h=max(one.cache_write_1h for one in rates),
    )
