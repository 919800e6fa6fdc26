"""Deliveries as spans of the trace that their batch was submitted in."""

from typing import Final

import orjson

from shared.db.engine import Database
from shared.db.repositories import batches
from shared.db.repositories.webhook_deliveries import ClaimedDelivery
from shared.tracing import Traced, Tracing
from worker.webhooks.sender import TryOutcome

WEBHOOKS: Final = "webhooks"
"""What receivers of webhooks are called together where it is said who is told of traces."""


def parent_of(database: Database, payload: str) -> str | None:
    """The trace of the batch that an event is about, or whose job it is about."""
    subject = orjson.loads(payload)["data"]
    with database.reading() as connection:
        batch = batches.get(connection, subject.get("batch") or subject["id"])
    return None if batch is None else batch.traceparent


def tried(tracing: Tracing, parent: str, delivery: ClaimedDelivery) -> Traced:
    """One try, from here on. Its address is not told: it may hold a secret."""
    event = orjson.loads(delivery.payload)
    return tracing.begin(
        f"webhook {event['type']}",
        parent,
        {
            "http.request.method": "POST",
            "promptmill.event.type": event["type"],
            "promptmill.event.id": delivery.event_id,
            "promptmill.webhook.delivery": delivery.id,
            "promptmill.webhook.endpoint": delivery.endpoint_id,
            "promptmill.webhook.try": delivery.tries + 1,
        },
        kind="client",
    )


def end_of_try(traced: Traced, outcome: TryOutcome) -> None:
    """What the receiver made of it."""
    status = outcome.status_code
    traced.tell({"http.response.status_code": status})
    failed_by = None if outcome.succeeded else str(status or "no_answer")
    traced.end(failed_by=failed_by)
