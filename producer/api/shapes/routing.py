"""A project's routing policy and its trials."""

from typing import Literal

from pydantic import Field

from producer.api.shapes.basics import Shape, UsdText
from shared.deciding.trials import Arm
from shared.domain.inference import TaskType


class PreferencesShape(Shape):
    """Weights: their ratio counts."""

    cost: float
    latency: float
    quality: float


class TaskPolicyShape(Shape):
    """What a project wishes for prompts of a type; what is not there is the project's."""

    preferences: PreferencesShape | None = None
    allowed_models: list[str] | None = None
    preferred_models: list[str] | None = None
    fallback_models: list[str] | None = None
    max_latency_s: float | None = None
    max_cost_usd: UsdText | None = None


class RubricShape(Shape):
    """By what a model grades answers; a grade below the threshold climbs."""

    text: str
    judge: str = Field(description="A model, or a tier whose cheapest is asked.")
    threshold: float
    share: float = Field(description="Of the jobs, those that are graded.")


class PolicyShape(TaskPolicyShape):
    """What a project wishes of routing; what is not there is the catalog's."""

    max_climbs: int | None = None
    default_max_tokens: int | None = None
    allow_downgrade: bool | None = None
    agreement: Literal[True, False, "auto"] | None = None
    classify_with: str | None = None
    classify_below: float | None = None
    rubric: RubricShape | None = None
    by_task_type: dict[TaskType, TaskPolicyShape] | None = None


class RunningTrialShape(Shape):
    """Another policy that a share of the jobs is run by."""

    name: str
    share: float
    policy: PolicyShape
    began_at: str


class RoutingShape(Shape):
    """A project's policy."""

    object: Literal["routing"]
    project: str
    policy: PolicyShape
    trial: RunningTrialShape | None


class ArmShape(Shape):
    """Means over the ended jobs of an arm; null where nothing was seen."""

    jobs: int
    rated: int = Field(description="Jobs that somebody gave feedback on.")
    cost_nusd: float | None
    accepted: float | None = Field(description="Share with an answer that the checks accept.")
    feedback: float | None
    latency_ms: float | None
    climbs: float | None


class DifferenceShape(Shape):
    """Of the means, b less a; without error and p where an arm has fewer than 30 jobs."""

    value: float | None
    error_95: float | None
    p: float | None
    significant: bool


class TrialShape(RunningTrialShape):
    """What a trial has shown."""

    object: Literal["trial"]
    project: str
    arms: dict[Arm, ArmShape]
    differences: dict[str, DifferenceShape]
    better: Arm | None
    because: str
