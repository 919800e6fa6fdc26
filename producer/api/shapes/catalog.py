"""Models, providers and the process's health."""

from typing import Literal

from pydantic import Field

from producer.api.shapes.basics import Shape


class ModelExtrasShape(Shape):
    """What the catalog says of a model."""

    provider: str
    upstream: str
    tier: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float
    context_window: int
    max_output_tokens: int
    strengths: list[str]
    capabilities: list[str]
    quality: float | None
    latency_s: float | None
    available: bool


class RoutingWordShape(Shape):
    """A word that has a model chosen: how, and of which models that can be asked."""

    mode: Literal["auto", "cheapest", "best", "tier"]
    models: list[str]
    available: bool


class ModelShape(Shape):
    """OpenAI's model object, and what the catalog says of the model, or of the word that has one
    chosen.
    """

    id: str = Field(examples=["gpt-5.6-luna"])
    object: Literal["model"]
    created: int
    owned_by: str
    shutdown_date: str | None
    promptmill: ModelExtrasShape | RoutingWordShape


class KeyHealthShape(Shape):
    """How a provider's key is."""

    state: str
    consecutive_failures: int
    retry_at: str | None
    cooling_down_until: str | None
    reason: str | None


class UseShape(Shape):
    """What all keys of a provider are used for, over the last minute."""

    calls_in_flight: int
    requests_per_minute: int
    tokens_per_minute: int = Field(description="Input and output of calls that have ended.")
    keys_in_use: int


class ProviderShape(Shape):
    """A provider: whether it can be asked, and how its keys are."""

    id: str
    object: Literal["provider"]
    wire: str
    base_url: str | None
    available: bool
    state: str
    reason: str | None
    models: list[str]
    max_concurrency: int | None
    rpm: int | None
    tpm: int | None
    use: UseShape | None = Field(description="Told to the admin key.")
    keys: dict[str, KeyHealthShape]


class LiveShape(Shape):
    """The process answers."""

    status: Literal["ok"]


class ReadyShape(Shape):
    """What it depends on, each with `ok` or what is wrong."""

    status: Literal["ok", "not ready"]
    checks: dict[str, str]
