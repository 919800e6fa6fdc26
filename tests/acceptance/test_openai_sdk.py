"""Files and batches as people's code for OpenAI uses them: its official SDK, sync and async, on a
whole running system.
"""

import asyncio
import io
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from openai.types import Batch

from tests.acceptance.openai_mill import OpenaiMill
from tests.fuzz_api import fuzz
from tests.integration.producer import sdk
from tests.servers.simulator import SimulatorServer

pytestmark = pytest.mark.slow

ENDED = ("completed", "failed", "expired", "cancelled")
LARGE = int(os.environ.get("LARGE_FILE_LINES", "5000"))
"""OpenAI's own limit, 50,000, takes about a minute on two cores: ask for it where there is time."""


@dataclass
class Hooks:
    """Deliveries received: (body, headers)."""

    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def wait_for(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.received) >= count, sdk.PATIENCE_S)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
            with hooks.came:
                hooks.received.append((body, dict(self.headers.items())))
                hooks.came.notify_all()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hooks.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield hooks
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def running_mill(simulator_server: SimulatorServer) -> Iterator[OpenaiMill]:
    mill = OpenaiMill(simulator_server)
    try:
        mill.start()
        yield mill
    finally:
        mill.stop()


@pytest.fixture
def mill(running_mill: OpenaiMill) -> Iterator[OpenaiMill]:
    running_mill.reset()
    yield running_mill
    running_mill.reset()


@pytest.fixture
def key(mill: OpenaiMill) -> str:
    return mill.new_key()


@pytest.fixture
def client(mill: OpenaiMill, key: str) -> Iterator[openai.OpenAI]:
    with sdk.connect(mill.address, key) as client:
        yield client


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    return sdk.until(lambda: client.batches.retrieve(batch.id), *ENDED)


def output(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return sdk.read_lines(client.files.content(file_id).read())


def test_a_mixed_file_runs_from_its_upload_to_its_announced_output(
    mill: OpenaiMill, client: openai.OpenAI, hooks: Hooks
):
    models = ("auto", "cheap", "tiny", "other-tiny", "middle", "large")
    limits = ({"max_tokens": 60}, {"max_completion_tokens": 60})
    content = b"\n".join(
        sdk.line(f"{model}-{i}", model=model, **limits[i % 2]) for model in models for i in range(4)
    )
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    assert client.files.wait_for_processing(file.id).status == "processed"
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint=sdk.CHAT,
        completion_window="24h",
        metadata={"run": "1"},
        extra_body={"webhook_url": hooks.url, "max_cost_usd": "5"},
    )
    secret = batch.model_extra["webhook"]["signing_secret"]  # type: ignore[index]
    done = ended(client, batch)
    assert done.status == "completed", done
    assert done.request_counts
    assert done.request_counts.model_dump() == {"total": 24, "completed": 24, "failed": 0}
    moments = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert moments == sorted(moments)  # type: ignore[type-var]
    assert done.error_file_id is None
    lines = {each["custom_id"]: each for each in output(client, done.output_file_id)}
    assert len(lines) == 24
    told = {name: each["response"]["body"]["promptmill"] for name, each in lines.items()}
    for model in models[2:]:
        assert {told[f"{model}-{i}"]["model"] for i in range(4)} == {model}
    assert {told[f"cheap-{i}"]["tier"] for i in range(4)} <= {"cheap", "mid", "high"}
    assert sum(ours["cost_nusd"] for ours in told.values()) == mill.billed_nusd()
    assert done.usage
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0

    hooks.wait_for(1)
    body, headers = hooks.received[0]
    event = client.webhooks.unwrap(body, headers, secret=secret)
    assert (event.type, event.data.id) == ("batch.completed", batch.id)  # type: ignore[union-attr]


def test_a_batch_that_every_provider_refuses_is_completed_with_an_error_file_alone(
    mill: OpenaiMill, client: openai.OpenAI
):
    mill.simulator.set_scenario({"rules": [{"fault": "400"}]})
    done = ended(client, sdk.batch_of(client, sdk.lines(3, model="tiny")))
    assert (done.status, done.output_file_id) == ("completed", None)
    assert done.request_counts
    assert (done.request_counts.completed, done.request_counts.failed) == (0, 3)
    for each in output(client, done.error_file_id):
        assert each["error"] is None
        assert each["response"]["status_code"] == 400
        assert each["response"]["body"]["error"]["message"]


def test_a_batch_is_cancelled_while_it_runs_and_what_was_asked_is_kept(
    mill: OpenaiMill, client: openai.OpenAI
):
    mill.simulator.set_scenario({"latency_ms": 1200})
    batch = sdk.batch_of(client, sdk.lines(2000, model="tiny"))
    deadline = time.monotonic() + sdk.PATIENCE_S
    while not mill.running(batch.id):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first = client.batches.cancel(batch.id)
    again = client.batches.cancel(batch.id)
    assert (first.status, again.status) == ("cancelling", "cancelling")
    done = ended(client, batch)
    assert done.status == "cancelled"
    assert done.cancelling_at
    assert done.cancelled_at
    answers = output(client, done.output_file_id)
    errors = output(client, done.error_file_id)
    assert len(answers) + len(errors) == 2000
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    paid = sum(each["response"]["body"]["promptmill"]["cost_nusd"] for each in answers)
    assert paid == mill.billed_nusd()
    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(batch.id)
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


def test_a_file_with_a_bad_line_fails_with_its_line_and_is_announced(
    mill: OpenaiMill, client: openai.OpenAI, hooks: Hooks
):
    content = sdk.lines(3) + b'\n{"custom_id": "x", "method": "POST"}'
    batch = sdk.batch_of(client, content, extra_body={"webhook_url": hooks.url})
    done = ended(client, batch)
    assert done.status == "failed"
    assert done.errors
    (error,) = done.errors.data or []
    assert (error.code, error.line, error.param) == ("missing_required_parameter", 4, "url")
    hooks.wait_for(1)
    assert '"batch.failed"' in hooks.received[0][0]
    assert mill.billed_nusd() == 0


async def aended(client: openai.AsyncOpenAI, batch_id: str) -> Batch:
    async with asyncio.timeout(sdk.PATIENCE_S):
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in ENDED:
                return batch
            await asyncio.sleep(0.05)


async def test_the_async_client_does_the_same(mill: OpenaiMill, key: str):
    async with openai.AsyncOpenAI(base_url=f"{mill.address}/v1", api_key=key) as client:
        file = await client.files.create(file=sdk.lines(5, model="auto"), purpose="batch")
        assert (await client.files.retrieve(file.id)).filename == "upload"
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=sdk.CHAT, completion_window="24h"
        )
        now = await aended(client, batch.id)
        assert now.status == "completed"
        assert now.output_file_id
        async with client.files.with_streaming_response.content(now.output_file_id) as response:
            assert len(sdk.read_lines(await response.read())) == 5
        assert [each.id async for each in client.batches.list(limit=1)] == [batch.id]
        listed = [each.id async for each in client.files.list(limit=1)]
        assert set(listed) == {file.id, now.output_file_id}
        assert (await client.files.delete(file.id)).deleted
        assert {each.id async for each in client.models.list()} >= {"tiny", "large"}
        with pytest.raises(openai.NotFoundError):
            await client.batches.cancel("batch_none")
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)


def test_a_large_file_runs_whole_and_the_api_stays_small(
    mill: OpenaiMill, client: openai.OpenAI, hooks: Hooks
):
    api = mill.api_process()
    before = api.memory_info().rss
    began = time.monotonic()
    content = b"\n".join(sdk.line(f"c{i}", model="tiny", max_tokens=8) for i in range(1, LARGE + 1))
    batch = sdk.batch_of(client, content, extra_body={"webhook_url": hooks.url})
    created = time.monotonic()
    counts: list[tuple[int, int]] = []
    most = before
    while (now := client.batches.retrieve(batch.id)).status not in ENDED:
        assert now.request_counts
        counts.append((now.request_counts.completed, now.request_counts.failed))
        most = max(most, api.memory_info().rss)
        time.sleep(0.2)
    assert now.status == "completed"
    hooks.wait_for(1)
    done = time.monotonic()
    assert counts == sorted(counts)
    assert now.output_file_id
    seen = set()
    with client.files.with_streaming_response.content(now.output_file_id) as response:
        for each in response.iter_lines():
            seen.update(line["custom_id"] for line in sdk.read_lines(each.encode()))
            most = max(most, api.memory_info().rss) if len(seen) % 5000 == 0 else most
    assert len(seen) == LARGE
    read = time.monotonic()
    print(
        f"{LARGE} lines, {len(content)} bytes: created {created - began:.1f} s, announced "
        f"{done - began:.1f} s, read in {read - done:.1f} s; the API grew by "
        f"{(most - before) >> 20} MiB"
    )
    assert most - before < 100 << 20


def test_the_api_keeps_to_its_own_page(mill: OpenaiMill):
    cases, _ = fuzz(mill, phases="fuzzing", examples=1, seed=1)
    assert cases >= 45  # at least one of nearly every operation


def test_the_sdk_manages_webhook_endpoints(client: openai.OpenAI, hooks: Hooks):
    made = client.webhooks.create(url=hooks.url, name="n", event_types=["batch.completed"])
    assert [each.id for each in client.webhooks.list(limit=1)] == [made.id]
    assert client.webhooks.update(made.id, name="m").name == "m"
    fresh = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert client.webhooks.test(made.id, event_type="batch.completed").success
    hooks.wait_for(1)
    body, headers = hooks.received[0]
    for secret in (made.signing_secret, fresh.signing_secret):
        event = client.webhooks.unwrap(body, headers, secret=secret)
        assert event.type == "batch.completed"
    assert client.webhooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(made.id)
