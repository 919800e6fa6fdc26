"""What an attempt costs, and what it can cost at most: exact, pure, rounded up once.

`cost_nusd` is the truth after a call, `worst_case_nusd` the reservation before it. The second is
never below the first for any usage within its bounds: that is what keeps a budget from being
overspent, and the property tests hold it.
"""

from collections.abc import Iterator

from shared.catalog.spec import Price, Rates
from shared.domain.inference import Usage


def cost_nusd(price: Price, usage: Usage) -> int:
    """Nano-dollars of a call with this usage, rounded up to a whole one.

    A call whose input is longer than a threshold of `price.above` is priced wholly at its rates.
    """
    rates = _rates_for(price, usage.total_input_tokens)
    fresh, output, cached, write, write_1h = rates.scaled
    total = (
        fresh * usage.input_tokens
        + output * usage.output_tokens
        + cached * usage.cached_tokens
        + write * usage.cache_write_tokens
        + write_1h * usage.cache_write_1h_tokens
    )
    return -(-total // rates.unit)


def worst_case_nusd(
    price: Price, input_tokens: int, output_tokens: int, *, writes_1h_cache: bool = True
) -> int:
    """The most that a call with at most this many tokens can cost, in nano-dollars.

    However the input splits into fresh, cached and cache-writing tokens, and whichever of the
    long-context prices it reaches. Pass `writes_1h_cache=False` only for a request that cannot
    write the dearer one-hour cache; the default is safe for every request.
    """
    if not price.above:
        return _dearest(price.base, input_tokens, output_tokens, writes_1h_cache=writes_1h_cache)
    return max(
        _dearest(rates, most_input, output_tokens, writes_1h_cache=writes_1h_cache)
        for most_input, rates in _reachable(price, input_tokens)
    )


def _rates_for(price: Price, total_input_tokens: int) -> Rates:
    rates = price.base
    for threshold, dearer in price.above:
        if total_input_tokens > threshold:
            rates = dearer
    return rates


def _reachable(price: Price, input_tokens: int) -> Iterator[tuple[int, Rates]]:
    """Each set of rates a call can meet, with the longest input that is still priced by it."""
    rates = price.base
    for threshold, dearer in price.above:
        if input_tokens <= threshold:
            break
        yield threshold, rates
        rates = dearer
    yield input_tokens, rates


def _dearest(rates: Rates, input_tokens: int, output_tokens: int, *, writes_1h_cache: bool) -> int:
    fresh, output, cached, write, write_1h = rates.scaled
    dearest = max(fresh, cached, write)
    if writes_1h_cache:
        dearest = max(dearest, write_1h)
    return -(-(dearest * input_tokens + output * output_tokens) // rates.unit)
