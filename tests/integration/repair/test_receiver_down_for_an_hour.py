"""A receiver that is down for an hour gets every event after it returns: nothing missing, nothing
twice, nothing wrong, each at the time that its schedule says.

Real relay, dispatcher, database and sockets; the hour passes on a clock that the test moves.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import outbox, webhook_deliveries, webhook_endpoints
from tests.integration.repair.mill import Mill
from tests.integration.repair.receiver import Received, Receiver, answer
from worker.maintenance.outbox_relay import OutboxRelay
from worker.webhooks.dispatcher import Dispatcher
from worker.webhooks.schedule import DELAYS_S
from worker.webhooks.sender import Sender

STEP = timedelta(seconds=60)
HOUR = timedelta(hours=1)
EVENTS = 24


class Hour:
    """Two endpoints of a project, events over an hour, and what became of them."""

    def __init__(self, database: Database, sender: Sender, urls: Sequence[str]) -> None:
        self.database = database
        self.start = self.now = utc_now()
        self.relay = OutboxRelay(database)
        self.dispatcher = Dispatcher(database, sender, clock=lambda: self.now, chance=lambda: 0.0)
        self.announced: list[str] = []
        with database.transaction() as connection:
            made = [
                webhook_endpoints.create(connection, "acme", url, "hook", None, self.now)
                for url in urls
            ]
        self.ids = [row.id for row, _ in made]
        self.secrets = [secret for _, secret in made]

    def announce(self) -> None:
        name = f"batch_{len(self.announced)}"
        with self.database.transaction() as connection:
            outbox.add(connection, "acme", "batch.completed", {"id": name}, self.now)
        self.announced.append(name)

    async def pass_by(self, span: timedelta, *, events: int = 0) -> None:
        """Let time pass step by step, as the maintenance process does, with events on the way."""
        steps = span // STEP
        for step in range(steps):
            if step * events // steps < (step + 1) * events // steps:
                self.announce()
            self.relay.run_once(self.now)
            await self.dispatcher.run_once(self.now)
            self.now += STEP

    def deliveries(self, endpoint: str) -> list[Any]:
        with self.database.reading() as connection:
            return list(webhook_deliveries.page(connection, endpoint, limit=100))

    def tries(self, delivery: str) -> list[Any]:
        with self.database.reading() as connection:
            return webhook_deliveries.tries_of(connection, [delivery]).get(delivery, [])

    def row(self, endpoint: str) -> Any:
        with self.database.reading() as connection:
            return webhook_endpoints.get(connection, endpoint)


@pytest.fixture
async def sender():
    sender = Sender(("127.0.0.0/8",), timeout_s=5.0)
    yield sender
    await sender.aclose()


def told(requests: Sequence[Received], secret: str) -> list[str]:
    """Which batches the receiver was told of, in order; every signature is right."""
    names = []
    for request in requests:
        head = request.headers
        sent_at = datetime.fromtimestamp(int(head["webhook-timestamp"]), tz=utc_now().tzinfo)
        own = Webhook(secret).sign(head["webhook-id"], sent_at, request.body.decode())
        assert head["webhook-signature"] == own
        event = orjson.loads(request.body)
        assert (event["id"], event["type"]) == (head["webhook-id"], "batch.completed")
        names.append(event["data"]["id"])
    return names


@pytest.mark.parametrize("how", ["refuses", "answers 503"])
async def test_every_event_of_the_hour_arrives_once_after_it(
    database: Database, mill: Mill, sender: Sender, how: str
):
    mill.project()
    async with Receiver() as healthy:
        down = Receiver()
        async with down:
            hour = Hour(database, sender, [down.url, healthy.url])
            if how == "answers 503":
                down.answers = [answer(503)]
                await hour.pass_by(HOUR, events=EVENTS)
        if how == "refuses":
            await hour.pass_by(HOUR, events=EVENTS)
        assert len(healthy.received) == EVENTS, "nobody waits for the one that is down"
        assert hour.row(hour.ids[0]).failing_since is not None

        down.answers, down.received = [answer(200)], []
        async with down:
            await hour.pass_by(timedelta(seconds=sum(DELAYS_S[:5])))
        assert sorted(told(down.received, hour.secrets[0])) == sorted(hour.announced)
    assert told(healthy.received, hour.secrets[1]) == hour.announced

    deliveries = hour.deliveries(hour.ids[0])
    assert [row.status for row in deliveries] == ["delivered"] * EVENTS
    for row in deliveries:
        tries = sorted(hour.tries(row.id), key=lambda one: one.at)
        assert len(tries) == row.tries
        assert [one.error is None for one in tries] == [False] * (len(tries) - 1) + [True]
        assert tries[-1].at >= hour.start + HOUR, "after it returned"
        for number, (one, following) in enumerate(pairwise(tries), start=1):
            waited = (following.at - one.at).total_seconds()
            assert DELAYS_S[number] <= waited <= DELAYS_S[number] + STEP.total_seconds()
    endpoint = hour.row(hour.ids[0])
    assert (endpoint.status, endpoint.failing_since) == ("enabled", None)
