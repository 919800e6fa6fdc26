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

from shared.db.engine import Database
from shared.db.repositories import outbox, webhooks
from shared.db.repositories.webhooks import NewDelivery
from shared.fault_points import FaultPoint, reach
from shared.webhooks import events

log = structlog.get_logger(__name__)

_AT_ONCE = 500


class OutboxRelay:
    """Needs nothing but the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Relay all that waits; returns how many events."""
        relayed = 0
        while self._anything_waits():
            with self._database.transaction() as connection:
                waiting = outbox.waiting(connection, _AT_ONCE)
                projects = sorted({event.project_id for event in waiting})
                endpoints = webhooks.wanting(connection, projects)
                webhooks.create_deliveries(connection, _owed(waiting, endpoints), now)
                outbox.mark_relayed(connection, [event.number for event in waiting], now)
                reach(FaultPoint.BEFORE_RELAY_COMMIT)
            relayed += len(waiting)
            if len(waiting) < _AT_ONCE:
                break
        return relayed

    def _anything_waits(self) -> bool:
        # Looked at without the write lock, which the workers need.
        with self._database.reading() as connection:
            return bool(outbox.waiting(connection, 1))


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
