"""Alerts reach people by each way that is set, once, also when a way fails or a matter flickers."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import insert
from standardwebhooks import Webhook

from shared.budget.model import Scope, ScopeKind
from shared.budget.windows import periods
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import alerts
from shared.db.tables import spend, webhook_endpoints
from shared.errors import ConfigurationError
from shared.provider_health import KEY, KeyHealth, KeyState
from shared.queue.celery_app import make_celery_app
from shared.queue.publisher import Publisher
from shared.settings import Settings
from tests.integration.repair.mill import NOW, Mill
from tests.servers.mailbox import Mailbox
from worker.alerting import matters
from worker.alerting.channels import MailChannel, Notice, SlackChannel, WebhookChannel, channels_of
from worker.maintenance.alerter import CALM, Alerter

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Board:
    """Takes what is posted; answers with `status`."""

    posted: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    url: str = ""

    def texts(self, path: str) -> list[str]:
        """What came at a path, in order."""
        return [body.decode() for at, _, body in self.posted if at == path]


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            board.posted.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(board.status if self.path == "/slack" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    board.url = f"http://127.0.0.1:{server.server_port}"
    yield board
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


@pytest.fixture
def alerter(
    database: Database,
    database_url: str,
    redis_client: "redis.Redis",
    redis_url: str,
    board: Board,
    mailbox: Mailbox,
) -> Alerter:
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        alert_webhook_url=f"{board.url}/hook",
        alert_webhook_secret=SECRET,
        alert_slack_url=f"{board.url}/slack",
        alert_mail_to="ops@example.org,boss@example.org",
        smtp_url=f"smtp://127.0.0.1:{mailbox.port}",
    )
    publisher = Publisher(make_celery_app(settings))
    return Alerter(database, redis_client, publisher, channels_of(settings))


def open_circuit(client: "redis.Redis") -> None:
    sick = KeyHealth(state=KeyState.OPEN, reason="<!channel> & three failures")
    client.hset(KEY, "openai:0123abcd", sick.to_json())


def test_a_sick_provider_is_told_by_every_way_once_and_its_end_too(
    alerter: Alerter, redis_client: "redis.Redis", board: Board, mailbox: Mailbox
) -> None:
    now = utc_now()  # a signature is good for minutes
    open_circuit(redis_client)
    assert alerter.run_once(now) == 0  # half a minute may pass by itself
    assert alerter.run_once(now + timedelta(seconds=31)) == 3
    assert alerter.run_once(now + timedelta(seconds=40)) == 0
    path, headers, body = board.posted[0]
    told = Webhook(SECRET).verify(body.decode(), headers)
    assert (path, told["type"], told["kind"]) == ("/hook", "alert.raised", "provider.open")
    assert "openai" in told["message"]
    (text,) = [json.loads(text)["text"] for text in board.texts("/slack")]
    assert "&lt;!channel&gt; &amp; three failures" in text
    (mail,) = mailbox.received
    assert mail["To"] == "ops@example.org, boss@example.org"
    assert mail["Subject"].strip().startswith("Promptmill [warning] openai: open")

    redis_client.delete(KEY)
    gone = now + timedelta(seconds=50)
    assert alerter.run_once(gone) == 0
    open_circuit(redis_client)  # it flickers
    assert alerter.run_once(gone + CALM / 2) == 0
    redis_client.delete(KEY)
    assert alerter.run_once(gone + CALM) == 0
    assert alerter.run_once(gone + CALM * 2) == 3
    assert [json.loads(body)["type"] for body in board.texts("/hook")] == [
        "alert.raised",
        "alert.resolved",
    ]
    assert "over by" in mailbox.received[1].get_content()
    assert "over by" not in mailbox.received[0].get_content()
    assert alerter.run_once(gone + CALM * 3) == 0


def test_a_way_that_fails_is_tried_again_and_the_others_are_not(
    alerter: Alerter, redis_client: "redis.Redis", board: Board, mailbox: Mailbox
) -> None:
    board.status, mailbox.refuses = 500, True
    open_circuit(redis_client)
    alerter.run_once(NOW)
    began = NOW + timedelta(seconds=31)
    assert alerter.run_once(began) == 1
    assert alerter.run_once(began + timedelta(seconds=10)) == 0
    board.status, mailbox.refuses = 200, False
    assert alerter.run_once(began + timedelta(seconds=31)) == 2
    assert len(board.texts("/hook")) == 1
    assert len(board.texts("/slack")) == 2
    assert len(mailbox.received) == 1


def test_budgets_held_jobs_queues_and_webhooks_are_told(
    alerter: Alerter, database: Database, mill: Mill, board: Board
) -> None:
    project = mill.project(day=1000)
    number = mill.batch(3)
    day, _ = periods(NOW)
    mill.hold(number, f"day:{project}:{day}", 10, 1)
    with database.transaction() as connection:
        own = {"project_id": project, "kind": "day", "period": day}
        connection.execute(insert(spend).values(spent_nusd=850, **own))
        endpoint = {
            "id": "we_1", "project_id": project, "name": "", "url": "https://example.org",
            "event_types": [], "status": "enabled", "secret": SECRET,
            "failing_since": NOW - timedelta(hours=2), "created_at": NOW, "updated_at": NOW,
        }  # fmt: skip
        connection.execute(insert(webhook_endpoints).values(**endpoint))
    alerter.run_once(NOW)
    alerter.run_once(NOW + timedelta(seconds=61))
    kinds = sorted(json.loads(body)["kind"] for body in board.texts("/hook"))
    assert kinds == ["budget.exhausted", "budget.threshold", "queue.no_worker", "webhook.failing"]
    with database.reading() as connection:
        assert sorted(row.kind for row in alerts.raised(connection)) == kinds
    messages = " ".join(json.loads(body)["message"] for body in board.texts("/hook"))
    assert "80 % of the day budget is spent: 0.00000085 of 0.000001 USD" in messages


def test_chunks_that_nobody_takes_are_a_matter() -> None:
    @dataclass
    class Row:
        kind: str = "worker"
        count: int = 1
        running: int = 0
        status: str = "in_progress"

    (stuck,) = matters.queues([Row()], [Row()], {"default": 7})
    assert (stuck.kind, stuck.lasts_s) == ("queue.stuck", 120.0)
    assert list(matters.queues([Row()], [Row(running=3)], {"default": 7})) == []


def test_a_password_is_sent_over_tls_only(mailbox: Mailbox, board: Board) -> None:
    channel = MailChannel(f"smtp://u:hidden@127.0.0.1:{mailbox.port}", "a@b.c", ("d@e.f",))
    assert channel.tell(notice()) == "SMTPNotSupportedError"
    assert mailbox.logins == mailbox.received == []
    assert "hidden" not in repr(channel)
    assert "hidden" not in repr(SlackChannel("https://example.org/hidden"))
    assert WebhookChannel(f"{board.url}/hook").tell(notice()) is None
    assert WebhookChannel("http://127.0.0.1:1/hidden").tell(notice()) == "no answer"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_over_tls_a_login_is_sent_to_the_server_of_that_name_and_to_no_other(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Path(__file__).parent / "hooks_example.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve = socket.getaddrinfo

    def here(host: str, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == "hooks.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    mailbox = Mailbox(tls, at_once=scheme == "smtps")
    try:
        told = {
            host: MailChannel(
                f"{scheme}://us%40er:p%3Aw@{host}:{mailbox.port}", "a@b.c", ("d@e.f",)
            ).tell(notice())
            for host in ("127.0.0.1", "hooks.example")
        }
    finally:
        mailbox.close()
    assert told == {"127.0.0.1": "SSLCertVerificationError", "hooks.example": None}
    assert mailbox.logins == [("us@er", "p:w")]
    assert len(mailbox.received) == 1


def test_batches_that_used_up_their_own_limits_are_one_matter_of_their_project() -> None:
    scopes = {Scope(ScopeKind.BATCH, f"batch_{n}"): "acme" for n in (2, 1, 3)}
    scopes |= {Scope(ScopeKind.MONTH, "acme", "2026-11"): "acme"}
    scopes |= {Scope(ScopeKind.KEY, "key_7"): "acme"}
    told = {matter.key: matter for matter in matters.held(scopes)}
    assert list(told) == [
        "budget.exhausted:month:acme:2026-11",
        "budget.exhausted:key:key_7",
        "budget.exhausted:batches:acme",
    ]
    month, key, batches = (matter.message for matter in told.values())
    assert "the month budget of 2026-11 is used up" in month
    assert "the spend limit of key key_7 is used up" in key
    assert "batch batch_1 and 2 more" in batches
    assert "resume" in batches


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(ConfigurationError, match="PROMPTMILL_SMTP_URL"):
        channels_of(Settings(_env_file=None, alert_mail_to="a@b.c"))
    with pytest.raises(ConfigurationError, match="PROMPTMILL_ALERT_SLACK_URL"):
        channels_of(Settings(_env_file=None, alert_slack_url="ftp://x"))
    assert channels_of(Settings(_env_file=None)) == []


def notice() -> Notice:
    return Notice("alert.raised", "k", "kind", "warning", None, "a message", NOW, NOW)
