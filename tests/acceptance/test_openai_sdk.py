"""Whole stories of files and batches, by OpenAI's official SDK on a whole running system: mixed,
broken, large, and the API's own page. Its single points are in `test_sdk_checklist`.
"""

import io
import os
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types import Batch

from tests.acceptance.conftest import Hooks
from tests.acceptance.whole_mill import WholeMill
from tests.fuzz_api import fuzz
from tests.integration.producer import sdk

pytestmark = pytest.mark.slow

ENDED = ("completed", "failed", "expired", "cancelled")
LARGE = int(os.environ.get("LARGE_FILE_LINES", "2000"))
"""OpenAI's own limit, 50,000, takes about a minute on two cores: ask for it where there is time."""


@pytest.fixture
def client(mill: WholeMill, key: str) -> Iterator[openai.OpenAI]:
    with sdk.connect(mill.address, key) as client:
        yield client


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    return sdk.until(lambda: client.batches.retrieve(batch.id), *ENDED)


def output(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return sdk.read_lines(client.files.content(file_id).read())


def test_a_mixed_file_runs_from_its_upload_to_its_announced_output(
    mill: WholeMill, client: openai.OpenAI, hooks: Hooks
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
    assert all(each["response"]["body"]["model"] for each in lines.values())
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


def test_a_file_with_a_bad_line_fails_with_its_line_and_is_announced(
    mill: WholeMill, client: openai.OpenAI, hooks: Hooks
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


def test_a_large_file_runs_whole_and_the_api_stays_small(
    mill: WholeMill, client: openai.OpenAI, hooks: Hooks
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


@pytest.mark.parametrize("running_mill", ["embedded"], indirect=True)
def test_the_api_keeps_to_its_own_page(mill: WholeMill):
    cases, _ = fuzz(mill, phases="fuzzing", examples=1, seed=1)
    assert cases >= 45  # at least one of nearly every operation
