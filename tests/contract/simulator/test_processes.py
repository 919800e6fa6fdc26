import base64
import json
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.contract.simulator import wires
from tests.contract.simulator.conftest import started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_even_with_a_call_that_hangs(
    number: signal.Signals, tmp_path: Path
):
    ready, scenario = tmp_path / "ready", tmp_path / "hang.json"
    scenario.write_text(json.dumps({"rules": [{"fault": "hang"}]}))
    arguments = ("simulator", "--scenario", str(scenario), "--ready-file", str(ready))
    with started(*arguments) as (process, url), httpx.Client(base_url=url, timeout=10) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert ready.read_text() == url
        assert set(tmp_path.iterdir()) == {ready, scenario}, "no half-written file beside it"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as hanging:
            body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
            hanging.sendall(head.encode() + b"\r\n\r\n" + body)
            while not client.get("/_simulator/calls").json()["total"]:
                time.sleep(0.01)
            begun = time.monotonic()
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
            assert time.monotonic() - begun < 3


def test_a_bad_scenario_ends_it_with_a_reason(tmp_path: Path):
    scenario = tmp_path / "bad.toml"
    scenario.write_text("[[rules]]\nfault = 'explode'\n")
    command = [sys.executable, "-m", "simulator", "--scenario", str(scenario)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert "rules[0].fault" in ended.stderr


def test_prompts_are_kept_only_when_asked_for(provider: httpx.Client):
    wires.OPENAI.post(provider, "a private matter")
    assert "private" not in provider.get("/_simulator/calls").text
    with started("simulator", "--keep-prompts") as (_, url), httpx.Client(base_url=url) as client:
        wires.OPENAI.post(client, "a private matter")
        (call,) = client.get("/_simulator/calls?limit=1").json()["calls"]
    assert call["prompt"] == "a private matter"
    assert (call["model"], call["key"], call["status"]) == ("tiny", "abcd", 200)


SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


def _signed(body: str, message_id: str = "msg_1") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(message_id, now, body),
    }


def test_the_receiver_verifies_keeps_and_fails_on_order():
    body = '{"type":"batch.completed"}'
    arguments = ("simulator.webhook_receiver", "--secret", SECRET)
    with started(*arguments) as (_, url), httpx.Client(base_url=url) as client:
        assert client.post("/hook", content=body, headers=_signed(body)).status_code == 200
        forged = _signed(body) | {"webhook-signature": "v1,AAAA"}
        assert client.post("/hook", content=body, headers=forged).status_code == 401
        assert client.post("/hook", content=body).status_code == 401
        client.put("/_receiver/behaviour", json={"status": 503, "times": 2, "retry_after_s": 4})
        answers = [client.post("/hook", content=body, headers=_signed(body)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503, 503, 200]
        assert answers[0].headers["retry-after"] == "4"
        assert client.put("/_receiver/behaviour", json={"stats": 5}).status_code == 400
        events = client.get("/_receiver/events").json()["events"]
    assert [event["verified"] for event in events] == [True, False, False, True, True, True]
    assert [event["status"] for event in events] == [200, 401, 401, 503, 503, 200]
    assert events[0]["body"] == body
    assert events[0]["headers"]["webhook-id"] == "msg_1"
