"""How a project routes, and trials of another policy."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)
from starlette.responses import Response

from producer.api.answers import JsonResponse
from producer.api.asking import Administering, Context, Reading
from producer.api.shapes.basics import Usd
from producer.api.shapes.routing import RoutingShape, TrialShape
from shared.domain.inference import TaskType
from shared.domain.money import nusd_from_usd, usd_from_nusd

router = APIRouter(tags=["projects"])

_Weight = Annotated[float, Field(ge=0, le=1_000_000)]
_Model = Annotated[str, Field(min_length=1, max_length=200)]
_Some = Annotated[list[_Model], Field(min_length=1, max_length=16)]


def _amount(given: Usd) -> str:
    return usd_from_nusd(nusd_from_usd(given))


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Weights(_Body):
    """Weights of the score; one that is not named counts nothing."""

    cost: _Weight = 0
    latency: _Weight = 0
    quality: _Weight = 0

    @model_validator(mode="after")
    def _say_something(self) -> "Weights":
        if not self.cost + self.latency + self.quality:
            raise ValueError("give at least one weight above 0")
        return self


class TaskWishes(_Body):
    """How prompts are routed."""

    preferences: Weights | None = None
    allowed_models: Annotated[list[_Model], Field(min_length=1, max_length=1000)] | None = None
    preferred_models: _Some | None = None
    fallback_models: _Some | None = None
    max_latency_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    max_cost_usd: Annotated[Usd, AfterValidator(_amount)] | None = None


class RubricWish(_Body):
    """By what a model grades answers."""

    text: Annotated[str, Field(min_length=1, max_length=4000)]
    judge: _Model
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.6
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Wishes(TaskWishes):
    """What is to be changed; null leaves it to the catalog. by_task_type: what is otherwise for
    prompts of a type.
    """

    max_climbs: Annotated[StrictInt, Field(ge=0, le=2)] | None = None
    default_max_tokens: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    allow_downgrade: StrictBool | None = None
    agreement: Literal[True, False, "auto"] | None = None
    classify_with: _Model | None = None
    classify_below: Annotated[float, Field(gt=0, le=1)] | None = None
    rubric: RubricWish | None = None
    by_task_type: dict[TaskType, TaskWishes] | None = None

    def named(self) -> dict[str, Any]:
        """Those that were named."""
        told = self.model_dump(mode="json", exclude_none=True)
        return {name: told.get(name) for name in sorted(Wishes.model_fields) if name in self.given}

    @property
    def given(self) -> set[str]:
        """The names that were sent."""
        return self.model_fields_set


class RoutingChange(Wishes):
    """A project's new wishes; those that are not named stay."""

    project: str | None = None


class NewTrial(_Body):
    """A policy to be tried on a share of a project's jobs."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    policy: Wishes
    project: str | None = None


@router.get("/v1/routing", response_model=RoutingShape, response_model_exclude_unset=True)
def read_routing(context: Context, acting: Reading) -> Response:
    """The project's routing policy, and the trial that runs."""
    return JsonResponse(context.routing.read(acting.project))


@router.put("/v1/routing", response_model=RoutingShape)
def set_routing(context: Context, acting: Administering, body: RoutingChange) -> Response:
    """Change the project's routing policy; jobs that are not claimed yet go by it."""
    where = context.access.project(acting.caller, body.project, acting.seen)
    return JsonResponse(context.routing.change(where, body.named()))


@router.post("/v1/routing/trial", response_model=RoutingShape)
def begin_trial(context: Context, acting: Administering, body: NewTrial) -> Response:
    """Run a share of the project's jobs by its policy with some wishes changed."""
    where = context.access.project(acting.caller, body.project, acting.seen)
    told = context.routing.begin_trial(where, body.name, body.share, body.policy.named())
    return JsonResponse(told)


@router.get("/v1/routing/trial", response_model=TrialShape)
def read_trial(context: Context, acting: Reading) -> Response:
    """What the trial has shown until now: which policy is better, and whether by chance."""
    return JsonResponse(context.routing.trial(acting.project))


@router.delete("/v1/routing/trial", response_model=TrialShape)
def end_trial(context: Context, acting: Administering) -> Response:
    """End the trial: all jobs go by the project's own policy again. Tells what it has shown."""
    return JsonResponse(context.routing.end_trial(acting.project))
