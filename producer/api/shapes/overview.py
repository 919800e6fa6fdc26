"""The whole mill at one moment."""

from typing import Literal

from pydantic import BaseModel, Field

from producer.api.shapes.basics import Nusd, Shape, UsdText


class OpenBatchShape(BaseModel):
    """A batch that has not ended."""

    id: str
    project: str
    name: str | None
    status: str
    total: int
    completed: int
    failed: int
    cost_nusd: Nusd
    cost_usd: UsdText
    created_at: str


class WindowShape(BaseModel):
    """What a project spent in a present window; left: less what is reserved."""

    project: str
    window: str
    limit_nusd: Nusd | None
    spent_nusd: Nusd
    spent_usd: UsdText
    left_nusd: int | None


class SickShape(BaseModel):
    """Keys of a provider that are in trouble."""

    provider: str
    state: str
    keys: int
    reason: str


class AlertShape(BaseModel):
    """Something that somebody should look at."""

    kind: str
    severity: str
    project: str | None
    message: str
    since: str


class OverviewShape(Shape):
    """What a source that is `missing` would tell is left out. totals: counted by processes since
    the mill came up: attempts by outcome, jobs by where they went.
    """

    object: Literal["overview"]
    at: str
    missing: list[str]
    processes: dict[str, int] = Field(default_factory=dict)
    jobs: dict[str, int] = Field(default_factory=dict)
    batches: list[OpenBatchShape] = Field(default_factory=list)
    budgets: list[WindowShape] = Field(default_factory=list)
    reserved_nusd: Nusd = 0
    reserved_usd: UsdText = "0"
    spent_today_nusd: Nusd = 0
    spent_today_usd: UsdText = "0"
    webhooks: dict[str, float] = Field(default_factory=dict)
    alerts: list[AlertShape] = Field(default_factory=list)
    queues: dict[str, int] = Field(default_factory=dict)
    sick_providers: list[SickShape] = Field(default_factory=list)
    backlog_chunks: int
    calls_in_flight: int
    totals: dict[str, dict[str, int]]
