"""OpenAI's official SDK, waiting and awaited, point by point on a whole running system, on both
databases: what other people's code for OpenAI relies on.
"""

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.acceptance.conftest import Hooks
from tests.acceptance.whole_mill import WholeMill
from tests.integration.producer import sdk

pytestmark = pytest.mark.slow

Client = openai.OpenAI | openai.AsyncOpenAI
ENDED = ("completed", "failed", "expired", "cancelled")
DAY_S = 86_400
CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
STORY: Any = [{"role": "user", "content": "Tell me a story about a lighthouse."}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


class City(BaseModel):
    name: str


@pytest.fixture(params=[openai.OpenAI, openai.AsyncOpenAI])
async def client(
    request: pytest.FixtureRequest, mill: WholeMill, key: str
) -> AsyncIterator[Client]:
    made: Client = request.param(base_url=f"{mill.address}/v1", api_key=key)
    yield made
    await got(made.close())


async def got(value: Any) -> Any:
    """What either client answers."""
    return await value if inspect.isawaitable(value) else value


async def all_of(pages: Any) -> list[Any]:
    """Everything that either client goes through: pages or a stream."""
    return [each async for each in pages] if hasattr(pages, "__aiter__") else list(pages)


async def upload(client: Client, content: bytes) -> str:
    file = await got(client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch"))
    return str(file.id)


async def batch_of(client: Client, content: bytes, **more: Any) -> Any:
    asked: dict[str, Any] = {"endpoint": sdk.CHAT, "completion_window": "24h", **more}
    return await got(client.batches.create(input_file_id=await upload(client, content), **asked))


async def ended(client: Client, batch: Any) -> Any:
    async with asyncio.timeout(sdk.PATIENCE_S):
        while True:
            now = await got(client.batches.retrieve(batch.id))
            if now.status in ENDED:
                return now
            await asyncio.sleep(0.05)


async def output(client: Client, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    content = await got(client.files.content(file_id))
    return sdk.read_lines(content.read())


async def test_files_come_from_paths_bytes_and_tuples_and_go(client: Client, tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(sdk.lines(2))
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    made = [
        await got(client.files.create(file=path, purpose="batch")),
        await got(client.files.create(file=sdk.lines(1), purpose="batch", expires_after=expiry)),
        await got(client.files.create(file=("t.jsonl", sdk.lines(1)), purpose="batch")),
    ]
    assert [file.filename for file in made] == ["mine.jsonl", "upload", "t.jsonl"]
    lives = [file.expires_at - file.created_at for file in made]
    assert lives == [30 * DAY_S, 3600, 30 * DAY_S]
    for file in made:
        assert (await got(client.files.wait_for_processing(file.id))).status == "processed"
    listed = await all_of(client.files.list(purpose="batch", limit=2))
    assert [file.id for file in listed] == [file.id for file in reversed(made)]
    assert await all_of(client.files.list(purpose="batch_output")) == []
    assert (await got(client.files.content(made[0].id))).read() == sdk.lines(2)
    assert (await got(client.files.delete(made[0].id))).deleted
    with pytest.raises(openai.NotFoundError) as caught:
        await got(client.files.retrieve(made[0].id))
    assert caught.value.request_id


async def test_a_batch_runs_to_its_end(client: Client, mill: WholeMill):
    expiry: Any = {"anchor": "created_at", "seconds": 7200}
    content = sdk.lines(3, model="tiny")
    batch = await batch_of(client, content, metadata={"a": "b"}, output_expires_after=expiry)
    assert batch.status in ("validating", "in_progress", "finalizing", "completed")
    assert batch.expires_at == batch.created_at + DAY_S
    done = await ended(client, batch)
    assert (done.status, done.metadata, done.error_file_id) == ("completed", {"a": "b"}, None)
    moments = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert moments == sorted(moments)
    assert done.request_counts.model_dump() == {"total": 3, "completed": 3, "failed": 0}
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    file = await got(client.files.retrieve(done.output_file_id))
    assert (file.purpose, file.expires_at - file.created_at) == ("batch_output", 7200)
    lines = await output(client, done.output_file_id)
    assert {each["custom_id"] for each in lines} == {"c1", "c2", "c3"}
    costs = [each["response"]["body"]["promptmill"]["cost_nusd"] for each in lines]
    assert sum(costs) == mill.billed_nusd() > 0

    second = await batch_of(client, content)
    listed = await all_of(client.batches.list(limit=1))
    assert [each.id for each in listed] == [second.id, batch.id]
    with pytest.raises(openai.ConflictError) as caught:
        await got(client.batches.cancel(batch.id))
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    await ended(client, second)


async def test_a_batch_is_cancelled_while_it_runs_and_what_was_asked_is_kept(
    client: Client, mill: WholeMill
):
    mill.simulator.set_scenario({"latency_ms": 1000})
    batch = await batch_of(client, sdk.lines(1500, model="tiny"))
    mill.until(batch.id, lambda now: now["promptmill"]["counts"]["running"] > 0)
    for _ in range(2):
        assert (await got(client.batches.cancel(batch.id))).status == "cancelling"
    done = await ended(client, batch)
    assert done.status == "cancelled"
    assert done.cancelling_at <= done.cancelled_at
    answers = await output(client, done.output_file_id)
    errors = await output(client, done.error_file_id)
    assert len(answers) + len(errors) == 1500
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    paid = sum(each["response"]["body"]["promptmill"]["cost_nusd"] for each in answers)
    assert paid == mill.billed_nusd()
    with pytest.raises(openai.ConflictError) as caught:
        await got(client.batches.cancel(batch.id))
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


async def test_what_is_wrong_is_told_as_openai_tells_it(client: Client, mill: WholeMill):
    bad = await ended(client, await batch_of(client, sdk.lines(2) + b"\n{oops"))
    (error,) = bad.errors.data
    assert (bad.status, error.code, error.line) == ("failed", "invalid_json_line", 3)
    mill.simulator.set_scenario({"rules": [{"fault": "400"}]})
    none = await ended(client, await batch_of(client, sdk.lines(2, model="tiny")))
    assert (none.status, none.output_file_id) == ("completed", None)
    assert none.request_counts.model_dump() == {"total": 2, "completed": 0, "failed": 2}
    (one, _) = await output(client, none.error_file_id)
    assert (one["error"], one["response"]["status_code"]) == (None, 400)

    with pytest.raises(openai.BadRequestError) as missing:
        await got(
            client.batches.create(input_file_id=None, endpoint=sdk.CHAT, completion_window="24h")
        )  # type: ignore[arg-type]
    wrong = missing.value
    assert (wrong.code, wrong.param) == ("missing_required_parameter", "input_file_id")
    assert wrong.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as unsupported:
        await batch_of(client, sdk.lines(1), endpoint="/v1/responses")
    assert unsupported.value.param == "endpoint"
    with pytest.raises(openai.AuthenticationError) as stranger:
        await got(client.with_options(api_key="pm_none").models.list())
    assert stranger.value.code == "invalid_api_key"


async def test_models_are_listed_and_retrieved(client: Client):
    assert {model.id for model in await all_of(client.models.list())} >= {"tiny", "large"}
    assert (await got(client.models.retrieve("tiny"))).owned_by == "acme"
    assert (await got(client.models.retrieve("auto"))).owned_by == "promptmill"
    with pytest.raises(openai.NotFoundError) as caught:
        await got(client.models.retrieve("org/none:1"))
    assert caught.value.code == "model_not_found"


async def test_a_conversation_is_answered_whole(client: Client):
    chat = client.chat.completions
    raw = await got(chat.with_raw_response.create(model="tiny", messages=CAPITAL))
    assert raw.headers["x-request-id"]
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.headers["openai-version"]
    answer = await got(raw.parse())
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.total_tokens > 0
    for limit in ({"max_tokens": 7}, {"max_completion_tokens": 7}):
        short = await got(chat.create(model="tiny", messages=STORY, **limit))  # type: ignore[call-overload]
        assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 7)
    called = await got(
        chat.create(model="large", messages=CAPITAL, tools=[TOOL], tool_choice="required")
    )
    assert called.choices[0].finish_reason == "tool_calls"
    assert called.choices[0].message.tool_calls[0].function.name == "look_up"
    parsed = await got(chat.parse(model="middle", messages=CAPITAL, response_format=City))
    assert isinstance(parsed.choices[0].message.parsed, City)


async def test_a_conversation_is_streamed(client: Client, mill: WholeMill):
    create = client.chat.completions.create
    options: Any = {"include_usage": True}
    chunks = await all_of(
        await got(create(model="tiny", messages=STORY, stream=True, stream_options=options))
    )
    told = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert len("".join(told)) > 20
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0
    mill.simulator.set_scenario({"rules": [{"fault": "cut_after"}]})
    broken = await got(create(model="tiny", messages=STORY, stream=True))
    with pytest.raises(openai.APIError) as caught:
        await all_of(broken)
    assert caught.value.code in ("stream_cut", "connection_lost")


async def test_the_sdk_is_told_whether_and_when_to_ask_again(
    client: Client, mill: WholeMill, monkeypatch: pytest.MonkeyPatch
):
    body = {"max_cost_usd": "0.000000001"}
    with pytest.raises(openai.APIStatusError) as refused:
        await got(client.chat.completions.create(model="large", messages=CAPITAL, extra_body=body))
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert refused.value.request.headers["x-stainless-retry-count"] == "0"

    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("anyio.sleep", noted(waits))
    once = mill.http.post("/v1/keys", json={"requests_per_minute": 1}).json()["key"]
    hurried = client.with_options(api_key=once, max_retries=1)
    await got(hurried.models.retrieve("tiny"))
    with pytest.raises(openai.RateLimitError) as limited:
        await got(hurried.models.retrieve("tiny"))
    told = int(limited.value.response.headers["retry-after"])
    assert 0 < told <= 60
    assert len(waits) == 1
    assert told <= waits[0] <= 60  # what the first answer said


def noted(waits: list[float]) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return sleep


async def test_webhook_endpoints_are_managed_and_deliveries_unwrapped(client: Client, hooks: Hooks):
    made = await got(
        client.webhooks.create(url=hooks.url, name="n", event_types=["batch.completed"])
    )
    assert [each.id for each in await all_of(client.webhooks.list(limit=1))] == [made.id]
    assert (await got(client.webhooks.update(made.id, name="m"))).name == "m"
    fresh = await got(
        client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    )
    assert (await got(client.webhooks.test(made.id, event_type="batch.completed"))).success
    batch = await ended(client, await batch_of(client, sdk.lines(1, model="tiny")))
    hooks.wait_for(2)
    for body, headers in hooks.received:
        for secret in (made.signing_secret, fresh.signing_secret):
            event: Any = client.webhooks.unwrap(body, headers, secret=secret)
            assert event.type == "batch.completed"
    assert event.data.id == batch.id
    assert (await got(client.webhooks.delete(made.id))).deleted
    with pytest.raises(openai.NotFoundError):
        await got(client.webhooks.retrieve(made.id))
