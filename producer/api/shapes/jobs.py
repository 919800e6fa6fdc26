"""Jobs' stories, routes and plans."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from producer.api.shapes.basics import ExactMoment, Nusd, Shape, UsdText
from producer.api.shapes.batches import (
    CostsShape,
    CostTextsShape,
    PlannedShape,
    ResultLineShape,
)
from shared.domain.job import JobStatus


class AttemptShape(Shape):
    """One paid call."""

    id: str
    ordinal: int
    purpose: str
    status: str
    rung: int | None
    model: str
    provider: str
    tier: str | None
    key_id: str | None
    reserved_nusd: Nusd
    cost_nusd: Nusd
    cost_usd: UsdText
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    finish_reason: str | None
    verdict: dict[str, Any] | None
    error: dict[str, str | None] | None
    warnings: list[Any]
    started_at: ExactMoment | None
    ended_at: ExactMoment | None


class WaitingShape(Shape):
    """Why a job waits."""

    reason: str | None
    run_after: ExactMoment | None
    since: ExactMoment | None
    held_scope: str | None
    need_nusd: Nusd | None
    deaths: int


class EventShape(BaseModel):
    """What happened when."""

    at: ExactMoment
    type: str


class JobShape(Shape):
    """A job's whole story."""

    id: str = Field(examples=["job_2000001"])
    object: Literal["job"]
    batch_id: str
    project: str
    line: int
    custom_id: str | None
    status: JobStatus
    request: dict[str, Any] | None
    template: str | None
    classification: dict[str, Any] | None
    route: dict[str, Any] | None
    no_route: dict[str, Any] | None
    trial: dict[str, str] | None = Field(description="The trial it was part of, and its arm.")
    notes: list[Any]
    waiting: WaitingShape | None
    attempts: list[AttemptShape]
    cost_nusd: Nusd
    cost_usd: UsdText
    result: ResultLineShape | None
    feedback: float | None = Field(description="What somebody said of its answer, 0 to 1.")
    events: list[EventShape]


class RungShape(Shape):
    """A rung of a ladder: its first model, then those for when a provider is sick."""

    tier: str
    models: list[str]


class NoRouteShape(Shape):
    """Why no model may answer."""

    code: str
    message: str


class DecisionShape(Shape):
    """Where a line would go, and why."""

    custom_id: str | None
    task_type: str = Field(examples=["simple_qa"])
    difficulty: float
    level: str
    confidence: float
    tier: str | None
    model: str | None
    ladder: list[RungShape]
    reasons: list[str]
    error: NoRouteShape | None = None


class UnpricedShape(Shape):
    """A line that is bad, or that no model may answer."""

    line: int
    custom_id: str | None
    code: str
    message: str


class AllotmentShape(Shape):
    """A budget allotted to all jobs together, and what it is expected to bring."""

    cap_nusd: int
    gain_per_usd: float = Field(description="Good answers that a further dollar must bring.")
    carries_all: bool
    expected_success: float


class PlanShape(Shape):
    """What a file might cost: an estimate."""

    lines: int
    jobs: int
    rejected: int
    duplicates: int
    examined: int
    unroutable: int
    cost_nusd: CostsShape
    cost_usd: CostTextsShape
    models: list[PlannedShape]
    unpriced: list[UnpricedShape]
    bad_lines: list[UnpricedShape]
    allotment: AllotmentShape | None = None
    seconds: float
