"""The dispatcher: sends what is due, at least once, and logs every try.

A slow receiver holds up only itself: each endpoint has a bound of its own, and no round waits for
another. A dispatcher that dies in the middle loses nothing: its deliveries are due again when
their claim's time is over, so a receiver may get one twice, under the same `webhook-id`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import webhook_deliveries, webhook_endpoints
from shared.db.repositories.webhook_deliveries import ClaimedDelivery
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.tracing import TRACEPARENT, Tracing
from worker.figures import MaintenanceFigures
from worker.webhooks import signing
from worker.webhooks.schedule import delay_before_next
from worker.webhooks.sender import Sender, TryOutcome
from worker.webhooks.tracing import WEBHOOKS, end_of_try, parent_of, tried

log = structlog.get_logger(__name__)

CLAIM = timedelta(seconds=60)
"""Four times what one try may last."""

DISABLE_AFTER = timedelta(days=5)
"""An endpoint that has answered nothing for so long is disabled."""


class Dispatcher:
    """One a cluster, in an event loop of its own."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        *,
        figures: MaintenanceFigures | None = None,
        tracing: Tracing | None = None,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        per_endpoint: int = 8,
        at_once: int = 64,
    ) -> None:
        self._database = database
        self._sender = sender
        self._figures = figures or MaintenanceFigures()
        self._tracing = tracing
        self._clock = clock
        self._chance = chance
        self._per_endpoint = per_endpoint
        self._at_once = at_once
        self._sending: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()
        self._called = asyncio.Event()

    async def start_due(self, now: datetime) -> int:
        """Begin what is due and has room; returns how many deliveries that were."""
        claimed = await asyncio.to_thread(self._claim, now)
        for delivery in claimed:
            self._busy[delivery.endpoint_id] += 1
            task = asyncio.create_task(self._deliver(delivery))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return len(claimed)

    async def run_once(self, now: datetime) -> int:
        """Send what is due and wait for the answers; returns how many tries were made."""
        started = 0
        while begun := await self.start_due(now):
            started += begun
            await self.drain()
        return started

    async def drain(self) -> None:
        """Wait for what is being sent."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    def call(self) -> None:
        """Have `run` look now instead of when its pause is over; call it in its event loop."""
        self._called.set()

    async def run(self, stopped: Callable[[], bool], pause_s: float = 2.0) -> None:
        """Send what becomes due until told to stop; tries under way are then abandoned, and made
        again by the next dispatcher.
        """
        while not stopped():
            self._called.clear()
            try:
                await self.start_due(self._clock())
            except UnavailableError as error:
                log.warning("deliveries wait for the database", reason=error.message)
            except Exception:
                log.exception("the dispatcher stumbled")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._called.wait()
        for task in self._sending:
            task.cancel()

    def _claim(self, now: datetime) -> list[ClaimedDelivery]:
        with self._database.reading() as connection:
            due = webhook_deliveries.due_endpoints(connection, now)
        room = self._at_once - len(self._sending)
        claimed: list[ClaimedDelivery] = []
        for endpoint_id in due:
            limit = min(self._per_endpoint - self._busy[endpoint_id], room - len(claimed))
            if limit > 0:
                with self._database.transaction() as connection:
                    claimed += webhook_deliveries.claim_due(
                        connection, endpoint_id, now, CLAIM, limit
                    )
        return claimed

    async def _deliver(self, delivery: ClaimedDelivery) -> None:
        try:
            reach(FaultPoint.AFTER_DELIVERY_CLAIM)
            now = self._clock()
            headers = signing.headers(delivery.event_id, now, delivery.payload, delivery.secrets)
            outcome = await self._send(delivery, headers)
            reach(FaultPoint.AFTER_DELIVERY)
            is_over = await asyncio.to_thread(self._record, delivery, outcome, now)
            if outcome.succeeded:
                late = self._clock() - delivery.created_at
                self._figures.delivered(max(0.0, late.total_seconds()))
            else:
                self._figures.not_delivered(for_good=is_over)
        except UnavailableError as error:
            # The claim lapses and it is sent again: at least once, not at most once.
            log.warning("a delivery was not recorded", reason=error.message, delivery=delivery.id)
        except Exception:
            log.exception("a delivery was given up", delivery=delivery.id)
        finally:
            self._busy[delivery.endpoint_id] -= 1
            if not self._busy[delivery.endpoint_id]:
                del self._busy[delivery.endpoint_id]

    async def _send(self, delivery: ClaimedDelivery, headers: dict[str, str]) -> TryOutcome:
        tracing = self._tracing
        parent = None
        if tracing is not None:
            parent = await asyncio.to_thread(parent_of, self._database, delivery.payload)
        if tracing is None or parent is None:
            return await self._sender.send(delivery.url, delivery.payload, headers)
        traced = tried(tracing, parent, delivery)
        if tracing.is_sent_to(WEBHOOKS):
            headers = {**headers, TRACEPARENT: traced.traceparent}
        outcome = await self._sender.send(delivery.url, delivery.payload, headers)
        end_of_try(traced, outcome)
        return outcome

    def _record(self, delivery: ClaimedDelivery, outcome: TryOutcome, began: datetime) -> bool:
        """Returns whether it is not tried again."""
        now = self._clock()
        with self._database.transaction() as connection:
            webhook_deliveries.log_try(
                connection,
                delivery.id,
                began,
                status_code=outcome.status_code,
                error=outcome.error,
                duration_ms=outcome.duration_ms,
            )
            if outcome.succeeded:
                webhook_deliveries.delivered(connection, delivery, now)
                return True
            delay = delay_before_next(delivery.tries + 1, self._chance(), outcome.retry_after_s)
            is_over = delay is None or outcome.gone
            if delay is None or outcome.gone:
                webhook_deliveries.give_up(connection, delivery, now)
            else:
                webhook_deliveries.retry_at(
                    connection, delivery, now + timedelta(seconds=delay), now
                )
            since = webhook_endpoints.failing_since(connection, delivery.endpoint_id)
            if outcome.gone or (since is not None and now - since >= DISABLE_AFTER):
                webhook_endpoints.disable(connection, delivery.endpoint_id, now)
                log.warning("a webhook endpoint was disabled", endpoint=delivery.endpoint_id)
        return is_over
