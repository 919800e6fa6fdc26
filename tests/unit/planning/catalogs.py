"""A catalog of one small model whose provider has limits."""

from fractions import Fraction

from shared.catalog.spec import Catalog, ModelSpec, Price, ProviderSpec, Rates, WireName
from shared.domain.inference import Tier


def limited_catalog(*, rpm: int | None, tpm: int | None, max_concurrency: int | None) -> Catalog:
    rates = Rates(*(Fraction(n) for n in (200, 1200, 20, 250, 400)))
    provider = ProviderSpec(
        "acme",
        WireName.OPENAI,
        "http://127.0.0.1:9/v1",
        rpm=rpm,
        tpm=tpm,
        max_concurrency=max_concurrency,
    )
    model = ModelSpec("small", "acme", "small", Tier.CHEAP, Price(rates), 128_000, 8192)
    return Catalog({"acme": provider}, {"small": model})
