"""The end of a batch is announced: signed, to a receiver of the standard's own library."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.acceptance.whole_mill import PATIENCE_S, WholeMill

pytestmark = pytest.mark.slow


@dataclass
class Receiver:
    url: str = ""
    arrived: "Queue[tuple[str, dict[str, str]]]" = field(default_factory=Queue)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            kept.arrived.put((body, dict(self.headers.items())))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield kept
    server.shutdown()
    server.server_close()


def test_the_end_of_a_batch_is_announced_signed_once_per_end(
    mill: WholeMill, receiver: Receiver
) -> None:
    options = ("--project", mill.project(), "--webhook", receiver.url)
    first = mill.submit([{"prompt": "What is 2 + 3?"}], *options)
    secret = first["webhook"]["signing_secret"]

    body, headers = receiver.arrived.get(timeout=PATIENCE_S)

    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]["id"]) == ("batch.completed", first["id"])
    assert mill.batch(first["id"])["status"] == "completed"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", headers)

    second = mill.submit([{"prompt": "What is 3 + 4?"}], *options)
    assert second["webhook"]["id"] == first["webhook"]["id"]
    assert "signing_secret" not in second["webhook"]
    body, headers = receiver.arrived.get(timeout=PATIENCE_S)
    assert Webhook(secret).verify(body, headers)["data"]["id"] == second["id"]
    assert receiver.arrived.empty()


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
        "http://0xa000001/x",
        "http://167772161/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://100.64.0.1/x",
    ],
)
def test_a_private_address_is_refused_in_any_spelling(mill: WholeMill, url: str) -> None:
    wish = {"name": "x", "url": url, "event_types": ["batch.completed"]}
    answer = mill.http.post("/v1/webhook_endpoints", json=wish)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "forbidden_address"


def test_a_submission_with_a_private_webhook_is_refused_whole(mill: WholeMill) -> None:
    before = mill.json("status")
    done = mill.call("submit", mill.file([{"prompt": "x"}]), "--webhook", "http://10.0.0.1/x")
    assert done.returncode == 1
    assert "PROMPTMILL_WEBHOOK_ALLOWED_CIDRS" in done.stderr
    assert mill.json("status") == before
