"""Feedback, and what was learned from outcomes."""

from typing import Literal

from pydantic import Field

from producer.api.shapes.basics import Shape
from shared.domain.inference import TaskType


class FeedbackShape(Shape):
    """What somebody said of a job's answer."""

    object: Literal["feedback"]
    job_id: str = Field(examples=["job_2000001"])
    model: str
    task_type: TaskType
    score: float = Field(description="0: bad, 1: good.")


class EvidenceShape(Shape):
    """In answers, older ones for less."""

    good: float = Field(description="What was said of them.")
    bad: float
    agreed: float = Field(description="Beside another model's answer.")
    differed: float
    passed: float = Field(description="By the checks.")
    refused: float


class LearnedShape(Shape):
    """What is known of a model on a task type; figures are null for one not in the catalog."""

    model: str
    task_type: TaskType
    prior: float | None = Field(description="Chance of a good answer by the catalog.")
    success: float | None = Field(description="The same with what was seen.")
    at_least: float | None = Field(description="What it exceeds at 90 %.")
    quality_shift: float = Field(description="What routing adds to the model's quality.")
    evidence: EvidenceShape


class OutcomesShape(Shape):
    """A project's outcomes."""

    object: Literal["outcomes"]
    project: str
    data: list[LearnedShape]


class ForgottenShape(Shape):
    """How many models and task types were forgotten."""

    object: Literal["outcomes.forgotten"]
    project: str
    forgotten: int
