"""Catalog values for the tests of this room."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from shared.catalog.spec import Catalog, ModelSpec, Price, ProviderSpec, Rates, WireName
from shared.domain.inference import Request, Tier

PRICE = Price(Rates(Fraction(1000), Fraction(2000), Fraction(500), Fraction(1250), Fraction(2000)))


def provider_of(wire: str, base_url: str = "http://127.0.0.1:9", **changes: Any) -> ProviderSpec:
    spec = ProviderSpec("acme", WireName(wire), base_url, ("env:ACME_KEY",), timeout_s=5.0)
    return replace(spec, **changes)


def model_of(**changes: Any) -> ModelSpec:
    spec = ModelSpec("small", "acme", "acme-small-1", Tier.CHEAP, PRICE, 100_000, 4096)
    return replace(spec, **changes)


def catalog_of(provider: ProviderSpec, model: ModelSpec | None = None) -> Catalog:
    model = model or model_of()
    return Catalog({provider.name: provider}, {model.name: model})


def ask(text: str = "Hello", **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), **fields)
