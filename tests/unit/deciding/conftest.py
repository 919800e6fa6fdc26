"""A small catalog whose figures are easy to reason about."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from shared.catalog.spec import Catalog, ModelSpec, Price, ProviderSpec, Rates, WireName
from shared.domain.inference import TaskType, Tier

ALL = frozenset({"json", "json_schema", "tools", "temperature", "logprobs"})


def model(
    name: str, tier: Tier, per_token: int, quality: float, *, provider: str = "one"
) -> ModelSpec:
    """A model whose input costs `per_token` nano-dollars and whose output five times that."""
    rate = Fraction(per_token)
    return ModelSpec(
        name=name,
        provider=provider,
        upstream=name,
        tier=tier,
        price=Price(Rates(rate, rate * 5, rate, rate, rate)),
        context_window=100_000,
        max_output_tokens=4_000,
        quality=quality,
        latency_s=1.0 + 4 * quality,
        capabilities=ALL if name != "plain" else frozenset({"temperature"}),
        strengths=(TaskType.CODING,) if name == "coder" else (),
    )


def catalog_of(*models: ModelSpec, unavailable: dict[str, str] | None = None) -> Catalog:
    """A catalog of these models at two providers."""
    return Catalog(
        providers={
            name: ProviderSpec(name, WireName.OPENAI, f"https://{name}.example/v1")
            for name in ("one", "two")
        },
        models={m.name: m for m in models},
        unavailable=unavailable or {},
    )


MODELS = (
    model("plain", Tier.CHEAP, 50, 0.5),
    model("small", Tier.CHEAP, 100, 0.6),
    model("coder", Tier.CHEAP, 150, 0.6, provider="two"),
    model("middle", Tier.MID, 1_000, 0.8),
    model("other-middle", Tier.MID, 1_500, 0.82, provider="two"),
    model("large", Tier.HIGH, 5_000, 0.93),
)


@pytest.fixture
def catalog() -> Catalog:
    """Six models in three tiers."""
    return catalog_of(*MODELS)


@pytest.fixture
def catalog_without() -> Callable[[str], Catalog]:
    """The same with one provider unavailable."""
    return lambda provider: catalog_of(*MODELS, unavailable={provider: "no key: set A_KEY"})
