"""Deliveries over real sockets: signed, retried, logged, pinned, and stopped where they must be."""

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import outbox, webhook_deliveries, webhook_endpoints
from shared.errors import ConflictError
from tests.integration.repair.mill import Mill
from tests.integration.repair.receiver import Receiver, answer
from worker.maintenance.outbox_relay import OutboxRelay
from worker.webhooks.dispatcher import CLAIM, DISABLE_AFTER, Dispatcher
from worker.webhooks.sender import Sender

LOOPBACK = ("127.0.0.0/8",)
CERTIFICATE = Path(__file__).parent / "hooks_example.pem"


class Clock:
    """A clock that the test moves; starts now, since receivers check timestamps."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sender():
    sender = Sender(LOOPBACK, timeout_s=5.0)
    yield sender
    await sender.aclose()


@pytest.fixture
def dispatcher(database: Database, sender: Sender, clock: Clock) -> Dispatcher:
    return Dispatcher(database, sender, clock=clock, chance=lambda: 0.0)


@pytest.fixture
async def receiver():
    async with Receiver() as receiver:
        yield receiver


class Hook:
    """An endpoint of the project acme, and the deliveries owed to it."""

    def __init__(self, database: Database, mill: Mill, url: str, clock: Clock) -> None:
        mill.project()
        self.database, self.clock = database, clock
        with database.transaction() as connection:
            row, self.secret = webhook_endpoints.create(
                connection, "acme", url, "hook", None, clock()
            )
        self.id = row.id

    def announce(self, times: int = 1) -> None:
        with self.database.transaction() as connection:
            for _ in range(times):
                outbox.add(connection, "acme", "batch.completed", {"id": "batch_1"}, self.clock())
        OutboxRelay(self.database).run_once(self.clock())

    @property
    def deliveries(self) -> list[Any]:
        with self.database.reading() as connection:
            return list(webhook_deliveries.page(connection, self.id))

    @property
    def delivery(self) -> Any:
        (row,) = self.deliveries
        return row

    @property
    def log(self) -> list[Any]:
        with self.database.reading() as connection:
            return webhook_deliveries.tries_of(connection, [self.delivery.id]).get(
                self.delivery.id, []
            )

    @property
    def row(self) -> Any:
        with self.database.reading() as connection:
            return webhook_endpoints.get(connection, self.id)


@pytest.fixture
def hook(database: Database, mill: Mill, receiver: Receiver, clock: Clock) -> Hook:
    return Hook(database, mill, receiver.url, clock)


async def test_a_receiver_with_the_standard_library_verifies_a_delivery(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    hook.announce()
    assert await dispatcher.run_once(clock()) == 1
    (request,) = receiver.received
    event = Webhook(hook.secret).verify(request.body, request.headers)
    assert (event["type"], event["data"]) == ("batch.completed", {"id": "batch_1"})
    assert request.headers["webhook-id"] == event["id"] == hook.delivery.event_id
    assert request.headers["content-type"] == "application/json"
    assert (hook.delivery.status, hook.delivery.tries) == ("delivered", 1)
    assert [(row.status_code, row.error) for row in hook.log] == [(200, None)]
    assert await dispatcher.run_once(clock()) == 0


async def test_a_failure_is_retried_by_the_schedule_under_the_same_id(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    receiver.answers = [answer(500, b"out of order"), answer(502), answer(204)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert await dispatcher.run_once(clock.pass_by(4)) == 0
    assert await dispatcher.run_once(clock.pass_by(1)) == 1
    assert await dispatcher.run_once(clock.pass_by(299)) == 0
    assert await dispatcher.run_once(clock.pass_by(1)) == 1
    assert hook.delivery.status == "delivered"
    assert [row.status_code for row in hook.log] == [500, 502, 204]
    assert hook.log[0].error == "HTTP 500: out of order"
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.received}) == 3


async def test_after_the_last_try_a_delivery_has_failed_and_can_be_sent_by_hand(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, database: Database
):
    receiver.answers = [answer(500)]
    hook.announce()
    began = clock()
    while hook.delivery.status == "pending":
        await dispatcher.run_once(clock())
        if hook.delivery.next_try_at:
            clock.now = hook.delivery.next_try_at
    assert hook.delivery.tries == len(receiver.received) == 8
    assert timedelta(hours=27) < clock() - began < timedelta(hours=31)
    receiver.answers = [answer(200)]
    with database.transaction() as connection:
        webhook_deliveries.redeliver(connection, hook.delivery.id, clock())
    await dispatcher.run_once(clock())
    assert hook.delivery.status == "delivered"
    assert len(hook.log) == 9


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, status: int
):
    receiver.answers = [answer(status, Location=receiver.url + "/elsewhere")]
    hook.announce()
    await dispatcher.run_once(clock())
    assert [request.path for request in receiver.received] == ["/hook"]
    assert (hook.delivery.status, hook.log[0].status_code) == ("pending", status)


async def test_410_disables_the_endpoint_and_ends_what_it_is_owed(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, database: Database
):
    receiver.answers = [answer(410)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert (hook.delivery.status, hook.row.status) == ("failed", "disabled")
    with database.transaction() as connection, pytest.raises(ConflictError):
        webhook_deliveries.redeliver(connection, hook.delivery.id, clock())


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receivers_retry_after_is_kept(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, status: int
):
    receiver.answers = [answer(status, Retry_After="120"), answer(200)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert hook.delivery.next_try_at == clock() + timedelta(seconds=120)


@pytest.mark.parametrize(
    "said",
    [
        "Feb 99999999999999999999 00:00:00 99999999999999999999  -2359 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "9" * 400,
        "-5",
        "1e9",
        "\u00b2",
        ",",
    ],
)
async def test_a_strange_retry_after_does_not_lose_the_try(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, said: str
):
    receiver.answers = [answer(503, Retry_After=said), answer(200)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert [row.status_code for row in hook.log] == [503]
    assert clock() < hook.delivery.next_try_at <= clock() + timedelta(hours=10)


async def test_an_endpoint_that_fails_for_days_is_disabled(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    receiver.answers = [answer(500)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert hook.row.failing_since is not None
    clock.now += DISABLE_AFTER
    await dispatcher.run_once(clock())
    assert hook.row.status == "disabled"


async def test_a_success_ends_an_endpoints_failing(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    receiver.answers = [answer(500), answer(200)]
    hook.announce()
    await dispatcher.run_once(clock())
    await dispatcher.run_once(clock.pass_by(5))
    assert hook.row.failing_since is None


async def test_while_a_rotation_overlaps_both_secrets_verify_and_later_only_the_new(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, database: Database
):
    clock.now -= timedelta(days=1)
    with database.transaction() as connection:
        new = webhook_endpoints.rotate(connection, hook.id, clock())
    for _ in range(2):
        hook.announce()
        await dispatcher.run_once(clock())
        clock.pass_by(86_400)
    overlapping, after = receiver.received
    assert len(overlapping.headers["webhook-signature"].split(" ")) == 2
    assert len(after.headers["webhook-signature"].split(" ")) == 1
    Webhook(new).verify(after.body, after.headers)


async def test_a_leaked_secret_is_replaced_without_an_overlap(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock, database: Database
):
    with database.transaction() as connection:
        webhook_endpoints.rotate(connection, hook.id, clock(), keep_old=False)
    hook.announce()
    await dispatcher.run_once(clock())
    (request,) = receiver.received
    assert len(request.headers["webhook-signature"].split(" ")) == 1


async def test_a_receiver_that_says_nothing_is_given_up_in_time(
    hook: Hook, database: Database, receiver: Receiver, clock: Clock
):
    receiver.answers = [b""]
    hook.announce()
    sender = Sender(LOOPBACK, timeout_s=0.2)
    await Dispatcher(database, sender, clock=clock).run_once(clock())
    await sender.aclose()
    assert hook.log[0].error == "no answer within 0.2 s"
    assert hook.delivery.status == "pending"


async def test_nobody_there_is_a_failure_with_its_reason(
    database: Database, mill: Mill, dispatcher: Dispatcher, clock: Clock
):
    async with Receiver() as gone:
        url = gone.url
    hook = Hook(database, mill, url, clock)
    hook.announce()
    await dispatcher.run_once(clock())
    assert hook.log[0].error.startswith("ConnectError")


async def test_an_endless_answer_is_read_only_up_to_a_kilobyte(
    hook: Hook, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    receiver.answers = [answer(500, b"x" * 5_000_000)]
    hook.announce()
    await dispatcher.run_once(clock())
    assert len(hook.log[0].error) <= 300


async def test_an_address_that_was_not_allowed_is_never_connected_to(
    hook: Hook, database: Database, receiver: Receiver, clock: Clock
):
    hook.announce()
    sender = Sender()
    await Dispatcher(database, sender, clock=clock).run_once(clock())
    await sender.aclose()
    assert receiver.received == []
    assert "not a public address" in hook.log[0].error


async def test_a_name_that_changes_its_mind_gains_nothing(receiver: Receiver):
    """The first look-up says where to connect; there is no second one."""
    answers = iter([["127.0.0.1"], ["127.0.0.9"]])
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    sender = Sender(["127.0.0.1/32"], resolve=rebinding, timeout_s=5.0)
    url = f"http://hooks.example:{receiver.port}/hook"
    first = await sender.send(url, "{}", {})
    second = await sender.send(url, "{}", {})
    await sender.aclose()
    assert (first.status_code, len(asked)) == (200, 2)
    assert second.status_code is None
    assert "127.0.0.9" in str(second.error)
    (request,) = receiver.received
    assert request.headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize(("name", "verified"), [("hooks.example", True), ("evil.example", False)])
async def test_a_certificate_is_checked_against_the_name_not_the_address(name: str, verified: bool):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    asked_for: list[str | None] = []
    tls.sni_callback = lambda _socket, server_name, _context: asked_for.append(server_name)
    sender = Sender(LOOPBACK, resolve=lambda *_: ["127.0.0.1"], verify=str(CERTIFICATE))
    async with Receiver(tls=tls) as receiver:
        outcome = await sender.send(f"https://{name}:{receiver.port}/hook", "{}", {})
    await sender.aclose()
    assert asked_for == [name]
    assert (outcome.status_code == 200) is verified
    assert len(receiver.received) == verified


async def test_a_proxy_of_the_environment_is_not_used(
    hook: Hook,
    database: Database,
    clock: Clock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
):
    async with Receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        hook.announce()
        sender = Sender(LOOPBACK)
        await Dispatcher(database, sender, clock=clock).run_once(clock())
        await sender.aclose()
        assert (len(proxy.received), len(receiver.received)) == (0, 1)


async def test_a_slow_endpoint_has_a_bound_and_does_not_hold_up_others(
    hook: Hook, database: Database, mill: Mill, dispatcher: Dispatcher, receiver: Receiver,
    clock: Clock,
):  # fmt: skip
    receiver.hold = asyncio.Event()
    hook.announce(20)
    async with Receiver() as other:
        assert await dispatcher.start_due(clock()) == 8
        quick = Hook(database, mill, other.url, clock)
        quick.announce()
        while quick.delivery.status != "delivered":
            await dispatcher.start_due(clock())
            await asyncio.sleep(0.01)
    assert receiver.most_at_once <= 8
    receiver.hold.set()
    await dispatcher.run_once(clock())
    await dispatcher.drain()


async def test_a_dispatcher_that_died_in_the_middle_is_succeeded_after_its_claim(
    hook: Hook, database: Database, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    hook.announce()
    with database.transaction() as connection:
        (lost,) = webhook_deliveries.claim_due(connection, hook.id, clock(), CLAIM, 8)
    assert await dispatcher.run_once(clock()) == 0
    clock.now += CLAIM
    assert await dispatcher.run_once(clock()) == 1
    with database.transaction() as connection:
        assert not webhook_deliveries.retry_at(connection, lost, clock(), clock())
    assert hook.delivery.status == "delivered"


async def test_two_dispatchers_send_each_delivery_once(
    hook: Hook, database: Database, sender: Sender, receiver: Receiver, clock: Clock
):
    hook.announce(30)
    pair = [Dispatcher(database, sender, clock=clock) for _ in range(2)]
    await asyncio.gather(*(dispatcher.run_once(clock()) for dispatcher in pair))
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert (len(ids), len(set(ids))) == (30, 30)


async def test_a_deleted_endpoint_takes_its_deliveries_along(
    hook: Hook, database: Database, dispatcher: Dispatcher, receiver: Receiver, clock: Clock
):
    hook.announce()
    with database.transaction() as connection:
        assert webhook_endpoints.remove(connection, hook.id)
        assert not webhook_endpoints.remove(connection, hook.id)
    assert await dispatcher.run_once(clock()) == 0
    assert receiver.received == []


def test_a_project_has_an_address_once(mill: Mill, database: Database, clock: Clock):
    mill.project()
    mill.project("other")
    url = "https://example.com/hook"
    with database.transaction() as connection:
        row, secret = webhook_endpoints.create(connection, "acme", url, "", None, clock())
        webhook_endpoints.create(connection, "other", url, "", None, clock())
        with pytest.raises(ConflictError):
            webhook_endpoints.create(connection, "acme", url, "", None, clock())
        assert webhook_endpoints.find_by_url(connection, "acme", url).id == row.id
        assert webhook_endpoints.get(connection, row.id, "other") is None
    assert secret.startswith("whsec_")
