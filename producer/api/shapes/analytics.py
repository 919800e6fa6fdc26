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
