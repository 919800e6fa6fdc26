"""Batches, their results and their report."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from producer.api.shapes.basics import (
    ExactMoment,
    Moment,
    Nusd,
    RejectedLineShape,
    Shape,
    UsdText,
)
from shared.domain.batch import Priority
from shared.domain.job import JobStatus

BatchWord = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling",
    "cancelled",
]  # fmt: skip
"""OpenAI's words for where a batch stands."""


class BatchErrorShape(Shape):
    """Why a line, or a whole file, was refused."""

    code: str | None = Field(examples=["invalid_json_line"])
    message: str | None
    param: str | None
    line: int | None


class BatchErrorsShape(Shape):
    """OpenAI's list of them."""

    object: Literal["list"]
    data: list[BatchErrorShape]


class RequestCountsShape(Shape):
    """How many lines there are, and how they ended; they never go back."""

    total: int
    completed: int
    failed: int


class CachedTokensShape(Shape):
    """Of the input tokens."""

    cached_tokens: int


class ReasoningTokensShape(Shape):
    """Of the output tokens."""

    reasoning_tokens: int


class BatchUsageShape(Shape):
    """The tokens of the batch's attempts as far as they are settled."""

    input_tokens: int
    input_tokens_details: CachedTokensShape
    output_tokens: int
    output_tokens_details: ReasoningTokensShape
    total_tokens: int


class JobCountsShape(Shape):
    """Jobs by their state."""

    total: int
    queued: int
    running: int
    held: int
    completed: int
    failed: int
    cancelled: int
    expired: int


class BatchExtrasShape(Shape):
    """What Promptmill says of a batch beside OpenAI's fields."""

    project: str
    name: str | None
    priority: Priority
    counts: JobCountsShape
    filling: bool = Field(description="Lines of it are still being sent: `total` grows.")
    retry_at_line: int | None = Field(
        description="While a retry puts failed jobs back into the queue: up to which line it has."
    )
    rejected: int
    duplicates: int
    cost_nusd: Nusd
    cost_usd: UsdText
    unconfirmed_nusd: Nusd
    unconfirmed_usd: UsdText
    max_cost_nusd: Nusd | None
    max_cost_usd: UsdText | None
    optimise: str | None
    pilot: str | None
    max_quality_loss: float | None


class BatchShape(Shape):
    """OpenAI's batch object with our own beside it."""

    id: str = Field(examples=["batch_01a1fc792bb475bc9654f76f"])
    object: Literal["batch"]
    endpoint: str = Field(examples=["/v1/chat/completions"])
    model: str | None
    errors: BatchErrorsShape | None
    input_file_id: str | None
    completion_window: str = Field(examples=["24h"])
    status: BatchWord
    output_file_id: str | None
    error_file_id: str | None
    created_at: Moment
    in_progress_at: Moment | None
    expires_at: Moment | None
    finalizing_at: Moment | None
    completed_at: Moment | None
    failed_at: Moment | None
    expired_at: Moment | None
    cancelling_at: Moment | None
    cancelled_at: Moment | None
    request_counts: RequestCountsShape
    usage: BatchUsageShape | None
    metadata: dict[str, str] | None
    promptmill: BatchExtrasShape


class BatchWebhookShape(Shape):
    """The endpoint that is told of the batch's end; the secret where it was just made."""

    id: str
    signing_secret: str | None = Field(default=None, examples=["whsec_..."])


class MadeBatchShape(BatchShape):
    """A batch that was just made; what was refused where lines were sent with it."""

    webhook: BatchWebhookShape | None = None
    rejected: list[RejectedLineShape] | None = None
    rejected_count: int | None = None


class ResultErrorShape(BaseModel):
    """Why a job has no answer; some reasons tell figures beside."""

    code: str | None
    message: str | None


class ResultLineShape(Shape):
    """A line of `GET /v1/batches/{batch_id}/results`."""

    custom_id: str | None
    line: int
    status: JobStatus
    text: str | None
    model: str | None
    provider: str | None
    tier: str | None
    task_type: str | None
    difficulty: float | None
    attempts: int
    escalated: bool
    cached: bool
    duplicate_of: int | None = Field(description="The line whose answer this is, too.")
    cost_nusd: Nusd
    cost_usd: UsdText
    saved_nusd: Nusd
    finish_reason: str | None
    error: ResultErrorShape | None
    response: dict[str, Any] | None = Field(description="The provider's answer.")


class ModelCostShape(Shape):
    """What one model was asked and cost."""

    model: str
    provider: str
    attempts: int
    cost_nusd: Nusd
    cost_usd: UsdText
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class TaskCostShape(Shape):
    """What one kind of task cost."""

    task_type: str | None
    jobs: int
    completed: int
    cost_nusd: Nusd
    cost_usd: UsdText


class EscalationsShape(Shape):
    """Climbs to stronger models, and what they brought."""

    climbs: int
    rescued: int
    cost_nusd: Nusd
    cost_usd: UsdText


class AgreementShape(Shape):
    """Second answers that were bought to check first ones by."""

    checks: int
    agreed: int
    cost_nusd: Nusd
    cost_usd: UsdText
    saved_nusd: int = Field(
        description="By jobs that started lower for it: what the usual model would have cost where "
        "both agreed, less all that was paid until then; below 0 where they mostly differ."
    )
    saved_usd: str


class ErrorKindShape(Shape):
    """One kind of failed attempt."""

    kind: str | None
    attempts: int


class UnansweredShape(Shape):
    """Attempts without an answer."""

    attempts: int
    cost_nusd: Nusd
    cost_usd: UsdText
    by_error: list[ErrorKindShape]


class WithoutAnswerShape(Shape):
    """`free` ones cost nothing, `unconfirmed` ones their reservation."""

    free: UnansweredShape
    unconfirmed: UnansweredShape


class AboveReservationShape(Shape):
    """What providers charged beyond what had been reserved."""

    attempts: int
    excess_nusd: Nusd
    excess_usd: UsdText


class FailedJobsShape(Shape):
    """Jobs that failed for one reason."""

    code: str | None
    jobs: int
    cost_nusd: Nusd
    cost_usd: UsdText


class CacheReportShape(Shape):
    """Answers that were kept from before, and what they had cost then."""

    hits: int
    saved_nusd: Nusd
    saved_usd: UsdText


class DeduplicationShape(Shape):
    """Lines that were answered by another line's answer, and what that had cost."""

    answered: int
    saved_nusd: Nusd
    saved_usd: UsdText


class CostsShape(Shape):
    """The middle, the 95th percentile and the bound, in nano-dollars."""

    p50: int
    p95: int
    worst: int


class CostTextsShape(Shape):
    """The same in USD."""

    p50: str
    p95: str
    worst: str


class PlannedShape(Shape):
    """How many jobs a model would be asked first."""

    model: str
    jobs: int


class ActualShape(Shape):
    """What has become of a prediction; `is_final` once the batch has ended."""

    is_final: bool
    cost_nusd: Nusd
    cost_usd: UsdText
    of_p50: float | None = Field(description="The cost as a share of the predicted middle.")
    within_p95: bool
    seconds: float | None


class LikelyShape(Shape):
    """Nano-dollars: the middle, and what it hardly exceeds."""

    p50: Nusd
    p95: Nusd


class LikelyTextsShape(Shape):
    """The same in USD."""

    p50: UsdText
    p95: UsdText


class NowShape(Shape):
    """What a running batch is expected to have cost in the end, by its own answers so far."""

    cost_nusd: LikelyShape
    cost_usd: LikelyTextsShape
    seconds_left: float


class PredictedShape(Shape):
    """What was expected of a batch before its first job ran."""

    made_at: ExactMoment
    cost_nusd: CostsShape
    cost_usd: CostTextsShape
    models: list[PlannedShape]
    unroutable: int
    seconds: float
    allotment: dict[str, Any] | None
    now: NowShape | None = Field(description="null once the batch has ended.")
    actual: ActualShape


class ReportShape(Shape):
    """What a batch cost, and where the money went."""

    batch_id: str
    status: BatchWord
    total_cost_nusd: Nusd
    total_cost_usd: UsdText
    unconfirmed_nusd: Nusd
    unconfirmed_usd: UsdText
    by_model: list[ModelCostShape]
    by_task_type: list[TaskCostShape]
    escalations: EscalationsShape
    agreement: AgreementShape
    cache: CacheReportShape
    deduplication: DeduplicationShape
    attempts_without_answer: WithoutAnswerShape
    above_reservation: AboveReservationShape
    errors: list[FailedJobsShape]
    always_strongest_nusd: Nusd
    always_strongest_usd: UsdText
    saved_nusd: Nusd
    saved_usd: UsdText
    predicted: PredictedShape | None
    pilot: dict[str, Any] | None
