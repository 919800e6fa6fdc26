"""What became of answers: what people say of them, and what was learned."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from producer.api.answers import JsonResponse
from producer.api.asking import Administering, Context, Reading, Submitting
from producer.api.openapi import errors
from producer.api.shapes.outcomes import FeedbackShape, ForgottenShape, OutcomesShape
from shared.domain.inference import TaskType

router = APIRouter(tags=["jobs"])


class Word(BaseModel):
    """What an answer was worth: 0 is bad, 1 is good."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"score": 1}})

    score: Annotated[float, Field(ge=0, le=1, strict=True)]


@router.post("/v1/jobs/{job_id}/feedback", response_model=FeedbackShape, responses=errors(409))
def give_feedback(job_id: str, context: Context, acting: Submitting, body: Word) -> Response:
    """Say what a job's answer was worth; routing learns from it. The last word counts."""
    return JsonResponse(context.outcomes.say(job_id, acting.seen, body.score))


@router.get("/v1/outcomes", response_model=OutcomesShape)
def read_outcomes(context: Context, acting: Reading) -> Response:
    """What the project's outcomes say of each model per task type, and what they rest on."""
    return JsonResponse(context.outcomes.learned(acting.project))


@router.delete("/v1/outcomes", response_model=ForgottenShape)
def forget_outcomes(
    context: Context,
    acting: Administering,
    model: Annotated[str | None, Query(description="Of this model only.")] = None,
    task_type: Annotated[TaskType | None, Query(description="Of this task type only.")] = None,
) -> Response:
    """Forget what was learned: routing goes by the catalog again, until new outcomes come."""
    return JsonResponse(context.outcomes.forget(acting.project, model, task_type))
