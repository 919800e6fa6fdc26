"""The events a webhook can carry, as they stand on the wire: thin and shaped like OpenAI's.

An event says what happened to what; the receiver fetches the rest by its id, so a late or repeated
delivery is never out of date. Our own types carry a few figures and go only to endpoints that ask
for them: OpenAI's clients do not know them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.clock import unix_seconds
from shared.domain.job import JobStatus, public_job_id
from shared.errors import UsageError

DEFAULT_TYPES: Final = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")
OWN_TYPES: Final = ("job.completed", "budget.threshold", "budget.exhausted")
ALL_TYPES: Final = (*DEFAULT_TYPES, *OWN_TYPES)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchSubject(_Wire):
    """The batch it is about."""

    id: str


class JobSubject(_Wire):
    """The job it is about, with what tells the receiver whether to fetch it."""

    id: str
    batch: str | None = None
    custom_id: str | None = None
    status: str | None = None


class BudgetSubject(_Wire):
    """The purse it is about, in the text form of its scope, with its figures at that moment."""

    id: str
    project: str
    window: Literal["day", "month", "total", "batch"]
    period: str
    percent: int | None = None
    limit_nusd: int
    spent_nusd: int
    held_jobs: int | None = None


class _Event(_Wire):
    id: str
    object: Literal["event"] = "event"
    created_at: int


class BatchEvent(_Event):
    """A batch ended."""

    type: Literal["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"]
    data: BatchSubject


class JobEvent(_Event):
    """A job has its answer."""

    type: Literal["job.completed"]
    data: JobSubject


class BudgetEvent(_Event):
    """A share of a limit is spent, or jobs wait for money."""

    type: Literal["budget.threshold", "budget.exhausted"]
    data: BudgetSubject


def job_completed(job_id: int, batch_id: str, custom_id: str | None) -> dict[str, Any]:
    """The subject of the event that a job has its answer."""
    return {
        "id": public_job_id(job_id),
        "batch": batch_id,
        "custom_id": custom_id,
        "status": JobStatus.COMPLETED.value,
    }


_EVENT: TypeAdapter[BatchEvent | JobEvent | BudgetEvent] = TypeAdapter(
    Annotated[BatchEvent | JobEvent | BudgetEvent, Field(discriminator="type")]
)


def payload(event_id: str, event_type: str, created_at: datetime, data: Mapping[str, Any]) -> str:
    """The JSON that is signed and sent, byte for byte the same at every try.

    Raises pydantic.ValidationError for data that does not belong to the type: a fault of ours.
    """
    event = _EVENT.validate_python(
        {
            "id": event_id,
            "created_at": unix_seconds(created_at),
            "type": event_type,
            "data": dict(data),
        }
    )
    return event.model_dump_json(exclude_none=True)


def checked_types(wanted: Sequence[str] | None) -> list[str]:
    """The event types themselves, each once; the default set where none are named.

    Raises UsageError for an empty list or a type that does not exist.
    """
    if wanted is None:
        return list(DEFAULT_TYPES)
    unknown = sorted(set(wanted) - set(ALL_TYPES))
    if unknown or not wanted:
        problem = f"unknown event type {unknown[0][:64]!r}" if unknown else "no event type"
        raise UsageError(
            f"{problem}; there are: {', '.join(ALL_TYPES)}",
            code="unknown_event_type",
            param="event_types",
        )
    return [known for known in ALL_TYPES if known in wanted]
