"""Turns committed events into deliveries owed to the endpoints that want them.

An event stays in the outbox until the transaction that owes its deliveries marks it, so a relay
that dies in between repeats it, and each endpoint is owed each event once.

Horizon: 1 s.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from shared.clock import unix_nanoseconds
from shared.db.engine import Database
from shared.db.repositories import batches, outbox, webhook_deliveries, webhook_endpoints
from shared.db.repositories.batches import BatchRow
from shared.db.repositories.webhook_deliveries import NewDelivery
from shared.fault_points import FaultPoint, reach
from shared.tracing import Tracing
from shared.webhooks import events

log = structlog.get_logger(__name__)

_AT_ONCE = 500


class OutboxRelay:
    """Needs nothing but the database."""

    def __init__(self, database: Database, tracing: Tracing | None = None) -> None:
        self._database = database
        self._tracing = tracing

    def run_once(self, now: datetime) -> int:
        """Relay all that waits; returns how many events."""
        relayed = 0
        while self._anything_waits():
            with self._database.transaction() as connection:
                waiting = outbox.waiting(connection, _AT_ONCE)
                projects = sorted({event.project_id for event in waiting})
                endpoints = webhook_endpoints.wanting(connection, projects)
                webhook_deliveries.add(connection, _owed(waiting, endpoints), now)
                outbox.mark_relayed(connection, [event.number for event in waiting], now)
                reach(FaultPoint.BEFORE_RELAY_COMMIT)
            if self._tracing is not None:
                self._trace_ends(self._tracing, waiting)
            relayed += len(waiting)
            if len(waiting) < _AT_ONCE:
                break
        return relayed

    def _trace_ends(self, tracing: Tracing, relayed: Sequence[Any]) -> None:
        """The span of each batch that ended, from its first line to its last."""
        ended = [event.data["id"] for event in relayed if event.type in events.DEFAULT_TYPES]
        with self._database.reading() as connection:
            rows = [batches.get(connection, batch_id) for batch_id in ended]
        for row in rows:
            if row is not None and row.traceparent is not None:
                _trace_end(tracing, row)

    def _anything_waits(self) -> bool:
        # Looked at without the write lock, which the workers need.
        with self._database.reading() as connection:
            return bool(outbox.waiting(connection, 1))


def _trace_end(tracing: Tracing, batch: BatchRow) -> None:
    ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    about = {
        "promptmill.batch.id": batch.id,
        "promptmill.batch.status": batch.status,
        "promptmill.batch.jobs": batch.total,
        "promptmill.batch.failed": batch.failed,
        "promptmill.cost_nusd": batch.cost_nusd,
        "promptmill.unconfirmed_nusd": batch.unconfirmed_nusd,
    }
    began = tracing.begin(
        "batch", batch.traceparent, about, at_ns=unix_nanoseconds(batch.created_at)
    )
    began.end(at_ns=None if ended is None else unix_nanoseconds(ended))


def _owed(waiting: Sequence[Any], endpoints: Sequence[Any]) -> list[NewDelivery]:
    owed: list[NewDelivery] = []
    for event in waiting:
        wanting = [
            endpoint.id
            for endpoint in endpoints
            if endpoint.project_id == event.project_id and event.type in endpoint.event_types
        ]
        if not wanting:
            continue
        try:
            payload = events.payload(event.id, event.type, event.created_at, event.data)
        except ValidationError:
            # It will not become right by waiting, and must not hold up the others.
            log.exception("an event cannot be told", event_id=event.id, type=event.type)
            continue
        owed += [NewDelivery(endpoint, event.id, event.type, payload) for endpoint in wanting]
    return owed
