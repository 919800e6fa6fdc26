"""Webhook endpoints as OpenAI's SDK manages them, and our log of what was delivered."""

import time
from datetime import datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from producer.api.answers import JsonResponse, list_object
from producer.api.asking import (
    Acting,
    After,
    Context,
    IdempotencyKey,
    Limit,
    Reading,
    Submitting,
    arrival_of,
)
from producer.api.objects import delivery_object, endpoint_object
from producer.api.shapes.basics import Page
from producer.api.shapes.files import DeletedShape
from producer.api.shapes.webhooks import DeliveryShape, EndpointShape, EventTypesShape, TrialShape
from producer.arrival import Arrival
from producer.bootstrap import ProducerContext
from producer.options import MAX_LABEL, text
from producer.submitted import TOLD_AGAIN_WITHIN
from shared.db.engine import Connection
from shared.db.repositories import webhook_deliveries, webhook_endpoints
from shared.db.repositories.webhook_deliveries import NewDelivery
from shared.db.repositories.webhook_endpoints import EndpointRow
from shared.errors import NotFoundError
from shared.ids import new_id
from shared.webhooks import events, url_guard

router = APIRouter(tags=["webhooks"])

_TEST_WAIT_S: Final = 16.0  # a try may take 15
_TEST_LOOK_S: Final = 0.1


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEndpoint(_Body):
    """Where to, and which events; the batch events where none are named."""

    url: str
    name: str = "webhook"
    event_types: list[str] | None = None
    project: str | None = None


class EndpointChange(_Body):
    """What is to be another."""

    url: str | None = None
    name: str | None = None
    event_types: list[str] | None = None
    status: Literal["enabled", "disabled"] | None = None


class Rotation(_Body):
    """Whether the old secret signs too for a day."""

    keep_old_secret_active_for_24_hours: bool = False


class Trial(_Body):
    """Which event to make up."""

    event_type: str = Field(default="batch.completed")


@router.get("/v1/webhook_event_types", response_model=EventTypesShape)
def list_event_types(_acting: Reading) -> Response:
    """The types an endpoint can ask for."""
    return JsonResponse({"object": "list", "data": list(events.ALL_TYPES)})


@router.post("/v1/webhook_endpoints", response_model=EndpointShape)
def create_endpoint(
    request: Request,
    context: Context,
    acting: Submitting,
    body: NewEndpoint,
    _idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make an endpoint; its signing secret is in this answer and nowhere else.

    A request that is sent again within a minute (under an Idempotency-Key, or as OpenAI's SDK
    repeats one) is answered again, with the secret: the first answer may have been lost.
    """
    return JsonResponse(
        made_endpoint(context, acting, body, arrival_of(request, context, acting.caller))
    )


def made_endpoint(
    context: ProducerContext, acting: Acting, body: NewEndpoint, arrival: Arrival
) -> dict[str, Any]:
    """The endpoint with its secret: a new one, or the one this very request has made before."""
    _check(context, body.url)
    project = context.access.project(acting.caller, body.project, acting.seen)
    name = text(body.name, "name", MAX_LABEL) or "webhook"
    now = arrival.at
    kinds = events.checked_types(body.event_types)
    with context.database.transaction() as connection:
        known = None
        if arrival.key is not None or arrival.is_repetition:
            known = webhook_endpoints.find_by_url(connection, project, body.url)
        if known is not None and _is_the_same(known, name, kinds, now):
            return endpoint_object(known, known.secret)
        row, secret = webhook_endpoints.create(connection, project, body.url, name, kinds, now)
    return endpoint_object(row, secret)


@router.get("/v1/webhook_endpoints", response_model=Page[EndpointShape])
def list_endpoints(
    context: Context, acting: Reading, after: After = None, limit: Limit = 20
) -> Response:
    """The project's endpoints, oldest first."""
    with context.database.reading() as connection:
        rows = webhook_endpoints.page(connection, acting.project, limit=limit + 1, after=after)
    found = [endpoint_object(row) for row in rows[:limit]]
    return JsonResponse(list_object(found, has_more=len(rows) > limit))


@router.get("/v1/webhook_endpoints/{endpoint_id}", response_model=EndpointShape)
def get_endpoint(endpoint_id: str, context: Context, acting: Reading) -> Response:
    """An endpoint."""
    with context.database.reading() as connection:
        return JsonResponse(endpoint_object(_found(connection, endpoint_id, acting)))


@router.post("/v1/webhook_endpoints/{endpoint_id}", response_model=EndpointShape)
def update_endpoint(
    endpoint_id: str, context: Context, acting: Submitting, body: EndpointChange
) -> Response:
    """Change an endpoint."""
    if body.url is not None:
        _check(context, body.url)
    now = context.clock()
    with context.database.transaction() as connection:
        _found(connection, endpoint_id, acting)
        webhook_endpoints.change(
            connection,
            endpoint_id,
            now,
            name=text(body.name, "name", MAX_LABEL),
            url=body.url,
            event_types=body.event_types,
        )
        if body.status is not None:
            change = (
                webhook_endpoints.enable if body.status == "enabled" else webhook_endpoints.disable
            )
            change(connection, endpoint_id, now)
        return JsonResponse(endpoint_object(_found(connection, endpoint_id, acting)))


@router.delete("/v1/webhook_endpoints/{endpoint_id}", response_model=DeletedShape)
def delete_endpoint(endpoint_id: str, context: Context, acting: Submitting) -> Response:
    """Remove an endpoint with its log."""
    with context.database.transaction() as connection:
        _found(connection, endpoint_id, acting)
        webhook_endpoints.remove(connection, endpoint_id)
    gone = {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}
    return JsonResponse(gone)


@router.post("/v1/webhook_endpoints/{endpoint_id}/rotate_secret", response_model=EndpointShape)
def rotate_secret(
    endpoint_id: str, context: Context, acting: Submitting, body: Rotation | None = None
) -> Response:
    """Give an endpoint a new secret, which is in this answer and nowhere else."""
    keep = (body or Rotation()).keep_old_secret_active_for_24_hours
    with context.database.transaction() as connection:
        _found(connection, endpoint_id, acting)
        secret = webhook_endpoints.rotate(connection, endpoint_id, context.clock(), keep_old=keep)
        return JsonResponse(endpoint_object(_found(connection, endpoint_id, acting), secret))


@router.post("/v1/webhook_endpoints/{endpoint_id}/test", response_model=TrialShape)
def try_endpoint(
    endpoint_id: str, context: Context, acting: Submitting, body: Trial | None = None
) -> Response:
    """Send a made-up event as all events are sent, and wait for what the receiver says."""
    kind = events.checked_types([(body or Trial()).event_type])[0]
    now, event_id = context.clock(), new_id("evt")
    payload = events.payload(event_id, kind, now, _made_up(kind, acting.project))
    with context.database.transaction() as connection:
        _found(connection, endpoint_id, acting)
        new = NewDelivery(endpoint_id, event_id, kind, payload)
        webhook_deliveries.add(connection, [new], now)
    outcome = _first_try(context, endpoint_id, event_id)
    status = None if outcome is None else outcome.status_code
    return JsonResponse(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": endpoint_id,
            "event_type": kind,
            "status_code": status,
            "success": status is not None and 200 <= status < 300,  # noqa: PLR2004  (HTTP's own)
            "error": "not sent yet" if outcome is None else outcome.error,
        }
    )


@router.get("/v1/webhook_endpoints/{endpoint_id}/deliveries", response_model=Page[DeliveryShape])
def list_deliveries(
    endpoint_id: str, context: Context, acting: Reading, after: After = None, limit: Limit = 20
) -> Response:
    """What was sent to an endpoint, newest first, each with every try."""
    with context.database.reading() as connection:
        _found(connection, endpoint_id, acting)
        last = None if after is None else webhook_deliveries.get(connection, after, acting.seen)
        if after is not None and (last is None or last.endpoint_id != endpoint_id):
            raise _no_delivery()
        before = None if last is None else last.number
        rows = webhook_deliveries.page(connection, endpoint_id, limit=limit + 1, before=before)
        log = webhook_deliveries.tries_of(connection, [row.id for row in rows])
    found = [delivery_object(row, log.get(row.id, ())) for row in rows[:limit]]
    return JsonResponse(list_object(found, has_more=len(rows) > limit))


@router.post("/v1/webhook_deliveries/{delivery_id}/redeliver", response_model=DeliveryShape)
def redeliver(delivery_id: str, context: Context, acting: Submitting) -> Response:
    """Send a delivery again, now and by the whole schedule."""
    with context.database.transaction() as connection:
        if webhook_deliveries.get(connection, delivery_id, acting.seen) is None:
            raise _no_delivery()
        webhook_deliveries.redeliver(connection, delivery_id, context.clock())
        row = webhook_deliveries.get(connection, delivery_id, acting.seen)
        log = webhook_deliveries.tries_of(connection, [delivery_id])
    return JsonResponse(delivery_object(row, log.get(delivery_id, ())))


def _is_the_same(known: EndpointRow, name: str, kinds: list[str], now: datetime) -> bool:
    """Whether an endpoint is what this request would make, and has just been made."""
    is_new = webhook_endpoints.is_untouched_since(known, now - TOLD_AGAIN_WITHIN)
    return is_new and (known.name, list(known.event_types)) == (name, kinds)


def _check(context: ProducerContext, url: str) -> None:
    url_guard.check(url, context.settings.webhook_allowed_cidrs)


def _found(connection: Connection, endpoint_id: str, acting: Acting) -> EndpointRow:
    row = webhook_endpoints.get(connection, endpoint_id, acting.seen)
    if row is None:
        raise NotFoundError(
            "there is no such webhook endpoint in this project", code="endpoint_not_found"
        )
    return row


def _no_delivery() -> NotFoundError:
    return NotFoundError("there is no such delivery in this project", code="delivery_not_found")


def _first_try(context: ProducerContext, endpoint_id: str, event_id: str) -> Any:
    """The log's first entry for an event; None where the dispatcher did not come to it."""
    until = time.monotonic() + _TEST_WAIT_S
    while time.monotonic() < until:
        with context.database.reading() as connection:
            rows = webhook_deliveries.page(connection, endpoint_id, limit=100)
            own = [row.id for row in rows if row.event_id == event_id]
            log = webhook_deliveries.tries_of(connection, own)
        if own and log.get(own[0]):
            return log[own[0]][0]
        time.sleep(_TEST_LOOK_S)
    return None


def _made_up(kind: str, project: str) -> dict[str, Any]:
    if kind.startswith("batch."):
        return {"id": "batch_test"}
    if kind.startswith("job."):
        return {"id": "job_test", "batch": "batch_test", "status": "completed"}
    purse = {"project": project, "window": "total", "period": "", "percent": 100}
    return {"id": f"total:{project}", **purse, "limit_nusd": 0, "spent_nusd": 0}
