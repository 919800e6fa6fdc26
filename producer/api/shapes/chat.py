"""Chat completions and comparisons: their answers."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from producer.api.shapes.basics import ErrorShape, Moment, Nusd, Shape, UsdText
from shared.domain.job import JobStatus


class AnswerExtrasShape(Shape):
    """How an answer was decided on, and what it cost."""

    job_id: str = Field(examples=["job_2000001"])
    task_type: str | None
    difficulty: float | None
    tier: str | None
    model: str | None
    provider: str | None
    attempts: int
    escalated: bool
    cached: bool
    duplicate_of: str | None
    cost_nusd: Nusd
    cost_usd: UsdText
    saved_nusd: Nusd
    latency_s: float | None
    streamed: bool | None = None


class ChatUsageShape(BaseModel):
    """The tokens of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class MessageShape(BaseModel):
    """What a model said; providers' further fields pass through."""

    role: Literal["assistant"]
    content: str | None
    tool_calls: list[dict[str, Any]] | None = None


class ChoiceShape(BaseModel):
    """One of the answers."""

    index: int
    message: MessageShape
    finish_reason: str | None = Field(examples=["stop"])


class CompletionShape(BaseModel):
    """OpenAI's chat completion; providers' further fields pass through."""

    id: str
    object: Literal["chat.completion"]
    created: Moment
    model: str
    choices: list[ChoiceShape]
    usage: ChatUsageShape
    promptmill: AnswerExtrasShape


class EmbeddingShape(BaseModel):
    """One text's vector: numbers, or base64 of them as 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsageShape(BaseModel):
    """The tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsShape(BaseModel):
    """OpenAI's list of vectors, in the order of the inputs."""

    object: Literal["list"]
    data: list[EmbeddingShape]
    model: str
    usage: EmbeddingUsageShape
    promptmill: AnswerExtrasShape


class SideShape(Shape):
    """One model's answer among those of a comparison."""

    model: str
    status: JobStatus
    text: str | None
    finish_reason: str | None
    cost_nusd: Nusd
    cost_usd: UsdText
    latency_s: float | None
    usage: ChatUsageShape | None
    error: ErrorShape | None
    response: CompletionShape | None
    promptmill: AnswerExtrasShape


class ComparisonShape(Shape):
    """The answers of several models to one prompt, in the order in which they were named."""

    id: str
    object: Literal["comparison"]
    data: list[SideShape]
    cost_nusd: Nusd
    cost_usd: UsdText
