"""Webhook endpoints, their trials and deliveries."""

from typing import Literal

from pydantic import Field

from producer.api.shapes.basics import Moment, Shape


class EndpointShape(Shape):
    """OpenAI's webhook endpoint; its signing secret only where it was just made."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str = Field(examples=["https://example.com/hook"])
    event_types: list[str] = Field(examples=[["batch.completed"]])
    created_at: Moment
    updated_at: Moment
    signing_secret_hint: str
    status: Literal["enabled", "disabled"]
    failing_since: Moment | None
    signing_secret: str | None = Field(default=None, examples=["whsec_..."])


class EventTypesShape(Shape):
    """The types there are."""

    object: Literal["list"]
    data: list[str]


class TrialShape(Shape):
    """What a receiver said to a made-up event."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int | None
    success: bool
    error: str | None


class TryShape(Shape):
    """One try of a delivery."""

    at: Moment
    status_code: int | None
    error: str | None
    duration_ms: int | None


class DeliveryShape(Shape):
    """A delivery with its log; `status_code` and `error` are those of the last try."""

    id: str
    object: Literal["webhook_delivery"]
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    status: str
    tries: int
    status_code: int | None
    error: str | None
    log: list[TryShape]
    created_at: Moment
    next_try_at: Moment | None
    ended_at: Moment | None
