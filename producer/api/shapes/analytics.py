"""Usage and costs by groups, single requests, and everything in a few figures."""

from typing import Literal

from pydantic import BaseModel, Field

from producer.api.shapes.basics import Nusd, Shape, UsdText


class UsedShape(BaseModel):
    """A group: what it is grouped by, and its sums."""

    attempts: int
    answered: int
    cost_nusd: Nusd
    cost_usd: UsdText
    unconfirmed_nusd: Nusd
    unconfirmed_usd: UsdText
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class UsageShape(Shape):
    """The groups of a period; both days are in it."""

    object: Literal["usage"]
    first: str = Field(alias="from", examples=["2026-11-01"])
    last: str = Field(alias="to", examples=["2026-11-21"])
    data: list[UsedShape]


class SavedShape(BaseModel):
    """A group: what it is grouped by, and its sums. saved: over the strongest model alone;
    repeated_saved: by the cache and by lines that ask the same.
    """

    jobs: int
    completed: int
    climbed: int
    rescued: int
    cached: int
    cost_nusd: Nusd
    cost_usd: UsdText
    always_strongest_nusd: Nusd
    always_strongest_usd: UsdText
    saved_nusd: Nusd
    saved_usd: UsdText
    repeated_saved_nusd: Nusd
    repeated_saved_usd: UsdText


class SavingsShape(Shape):
    """What was saved in a period; both days are in it."""

    object: Literal["savings"]
    first: str = Field(alias="from")
    last: str = Field(alias="to")
    data: list[SavedShape]


class HintShape(BaseModel):
    """Something to change; saves: an estimate for the period's jobs."""

    code: str = Field(examples=["cheap_suffices"])
    project: str
    task_type: str | None
    provider: str | None
    jobs: int
    saves_nusd: Nusd
    saves_usd: UsdText
    message: str


class HintsShape(Shape):
    """What could be paid less for."""

    object: Literal["hints"]
    first: str = Field(alias="from")
    last: str = Field(alias="to")
    data: list[HintShape]


class RequestShape(Shape):
    """A request that ended."""

    id: str
    object: Literal["request"]
    project: str
    batch_id: str
    custom_id: str | None
    line: int
    status: str
    model: str | None
    provider: str | None
    tier: str | None
    task_type: str | None
    difficulty: float | None
    attempts: int
    escalated: bool
    cached: bool
    cost_nusd: Nusd
    cost_usd: UsdText
    saved_nusd: Nusd
    saved_usd: UsdText
    latency_ms: int | None
    ended_at: str


class StatsShape(Shape):
    """Batches and jobs of all time, and a period's usage."""

    object: Literal["stats"]
    project: str | None
    batches: int
    jobs: dict[str, int] = Field(description="By state, and their total.")
    first: str = Field(alias="from")
    last: str = Field(alias="to")
    usage: UsedShape
