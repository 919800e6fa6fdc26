"""The catalog's values: providers, models, prices, routing settings; all immutable, all checked.

They are made by `shared.catalog.loader`, which refuses what is unknown or has no price.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import lcm
from types import MappingProxyType
from typing import Final

from shared.domain.inference import TaskType, Tier

USUAL_CAPABILITIES: Final = frozenset({"json", "json_schema", "tools", "temperature"})
"""Of a model whose table names none."""

EMBEDDINGS: Final = "embeddings"
"""The capability that a model has alone, or not at all."""


class WireName(StrEnum):
    """The wire formats that have code; everything else about a host is data."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    COHERE = "cohere"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A host that serves models.

    base_url: as the vendor's SDK takes it (with /v1 for the OpenAI wire, without a version for
    the others), no trailing slash; "" where the variable that names it is not set.
    api_keys: where each key comes from ("env:NAME"), or the key itself for keyless local hosts
    ("none"). Load is spread over those that are set.
    max_concurrency, rpm, tpm: per key over the whole cluster; None is unlimited.
    max_tokens_field: the body's name for the limit on output tokens (OpenAI wire only).
    drop_params: body fields this host refuses; left out, and the attempt says so.
    timeout_s: how long the whole call may take once sent.
    Keys and headers are kept out of repr: a literal one must not reach a log.
    """

    name: str
    wire: WireName
    base_url: str
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_tokens_field: str = "max_tokens"
    drop_params: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 600.0
    connect_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per token, as exact fractions (list prices can be below a unit per token).

    scaled: the five over one denominator, `unit`, made once: a cost is then a few whole numbers.
    """

    input: Fraction
    output: Fraction
    cached_input: Fraction
    cache_write: Fraction
    cache_write_1h: Fraction
    unit: int = field(init=False, repr=False, compare=False)
    scaled: tuple[int, int, int, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Bring the rates over their common denominator."""
        rates = (self.input, self.output, self.cached_input, self.cache_write, self.cache_write_1h)
        unit = lcm(*(rate.denominator for rate in rates))
        object.__setattr__(self, "unit", unit)
        scaled = tuple(rate.numerator * (unit // rate.denominator) for rate in rates)
        object.__setattr__(self, "scaled", scaled)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost. `above` holds (total input tokens, rates) in rising order: a call
    with more input tokens than that is priced wholly at those rates (long-context prices).

    batch_discount applies to the provider's own batch endpoint only, which this engine does not
    use for single calls.
    """

    base: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    batch_discount: Fraction = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that can be asked, under its name in the catalog.

    upstream: the name sent to the provider. quality: prior in 0..1. latency_s: typical seconds for
    a usual answer. tokenizer: name of an exact tokenizer shipped with the product, None where the
    bound is bytes. capabilities: of "json", "json_schema", "tools", "logprobs", "temperature"; or
    "embeddings" alone, of a model that makes vectors and answers nothing: its window is that of
    each input.
    """

    name: str
    provider: str
    upstream: str
    tier: Tier
    price: Price
    context_window: int
    max_output_tokens: int
    strengths: tuple[TaskType, ...] = ()
    quality: float = 0.5
    latency_s: float = 2.0
    tokenizer: str | None = None
    capabilities: frozenset[str] = USUAL_CAPABILITIES

    @property
    def embeds(self) -> bool:
        """Whether it makes embeddings, and so answers no prompts."""
        return EMBEDDINGS in self.capabilities


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """The catalog's [routing] table."""

    ladder: tuple[Tier, ...] = (Tier.CHEAP, Tier.MID, Tier.HIGH)
    default_max_tokens: int = 1024
    max_climbs: int = 2


@dataclass(frozen=True, slots=True)
class Catalog:
    """All providers and models. `warnings` is what the loader wants people to know.

    unavailable: providers that cannot be asked from here, with the reason (no key set); their
    models stay listed and are never routed to.
    """

    providers: Mapping[str, ProviderSpec]
    models: Mapping[str, ModelSpec]
    routing: RoutingSettings = RoutingSettings()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    digest: str = ""

    def __post_init__(self) -> None:
        """Freeze the tables."""
        object.__setattr__(self, "unavailable", MappingProxyType(dict(self.unavailable)))
        object.__setattr__(self, "providers", MappingProxyType(dict(self.providers)))
        object.__setattr__(self, "models", MappingProxyType(dict(self.models)))

    def provider_of(self, model: str) -> ProviderSpec:
        """The provider that serves a model of this catalog."""
        return self.providers[self.models[model].provider]

    def models_of(self, tier: Tier) -> tuple[ModelSpec, ...]:
        """A tier's models that answer prompts, in the catalog's order."""
        return tuple(m for m in self.models.values() if m.tier is tier and not m.embeds)

    @property
    def askable(self) -> tuple[ModelSpec, ...]:
        """Models that answer prompts and whose provider can be asked, in the catalog's order."""
        return tuple(
            m for m in self.models.values() if m.provider not in self.unavailable and not m.embeds
        )

    @property
    def strongest(self) -> ModelSpec | None:
        """The best model of the highest tier that can be asked: what "always the strongest" means
        in reports. None where nothing can be asked.
        """
        order = tuple(Tier)
        return max(self.askable, key=lambda m: (order.index(m.tier), m.quality), default=None)
