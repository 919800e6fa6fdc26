"""The same catalog pointed at the simulator: same models, prices and tiers, no vendor called."""

from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from shared.catalog.price_reading import NUSD_PER_TOKEN, PRICE_KEYS
from shared.catalog.spec import Catalog, Price, ProviderSpec, Rates, WireName

SIMULATED_KEY: Final = "simulated-no-real-key"

_PLACES: Final = 10**15


def simulated(catalog: Catalog, simulator_url: str) -> Catalog:
    """The catalog with every provider at `simulator_url`/its name, none of them lacking a key.

    Hosts without an address stay unavailable: the simulator stands in for vendors, and a free
    local model that is not there would win every comparison of costs. Vendors' rate limits do not
    hold there, and no model has its tokenizer: the simulator counts in its own way, so bytes are
    the bound.
    """
    root = simulator_url.rstrip("/")
    return replace(
        catalog,
        providers={name: _moved(provider, root) for name, provider in catalog.providers.items()},
        models={name: replace(model, tokenizer=None) for name, model in catalog.models.items()},
        unavailable={
            name: reason
            for name, reason in catalog.unavailable.items()
            if not catalog.providers[name].base_url
        },
    )


def price_table(catalog: Catalog) -> dict[str, Any]:
    """The catalog's prices in its file's own shape, by upstream name, as exact decimal strings.

    Two models with one upstream name (the same model at two hosts) share the dearer entry.
    """
    rising = sorted(catalog.models.values(), key=lambda model: model.price.base.output)
    return {"models": {model.upstream: _entry(model.price) for model in rising}}


def _moved(provider: ProviderSpec, root: str) -> ProviderSpec:
    version = "/v1" if provider.wire is WireName.OPENAI else ""
    return replace(
        provider,
        base_url=f"{root}/{provider.name}{version}",
        api_keys=(SIMULATED_KEY,),
        max_concurrency=None,
        rpm=None,
        tpm=None,
    )


def _entry(price: Price) -> dict[str, Any]:
    entry: dict[str, Any] = dict(_prices(price.base))
    if price.above:
        entry["above"] = [{"input_tokens": start, **_prices(rates)} for start, rates in price.above]
    return entry


def _prices(rates: Rates) -> dict[str, str]:
    figures = (
        rates.input,
        rates.output,
        rates.cached_input,
        rates.cache_write,
        rates.cache_write_1h,
    )
    return dict(zip(PRICE_KEYS, map(_usd_per_mtok, figures), strict=True))


def _usd_per_mtok(rate: Fraction) -> str:
    """Exact: the file's prices have at most twelve decimal places."""
    scaled = rate / NUSD_PER_TOKEN * _PLACES
    whole, rest = divmod(scaled.numerator // scaled.denominator, _PLACES)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")
