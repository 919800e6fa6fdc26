"""Streamed chat completions: tokens as they come, and the bill of what was cut off."""

import time
from typing import Any

import httpx
import openai
import pytest

from tests.integration.chat.conftest import ADMIN_KEY, ChatMill
from tests.servers.waiting import wait_for

STORY: Any = [{"role": "user", "content": "Tell me a story about a lighthouse."}]
CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def text_of(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_a_stream_of_every_wire_is_the_plain_answer_in_pieces(
    client: openai.OpenAI, mill: ChatMill, model: str
) -> None:
    plain = client.chat.completions.create(model=model, messages=STORY)
    plain_cost = mill.simulator.bill()["total_nusd"]
    stream = client.chat.completions.create(
        model=model, messages=STORY, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    assert text_of(chunks) == plain.choices[0].message.content
    assert len(chunks) > 3
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert plain.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == plain.usage.total_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    told = chunks[-1].model_extra["promptmill"]
    assert (told["streamed"], told["escalated"], told["model"]) == (True, False, model)
    assert "not escalated" in told["note"]
    assert told["cost_nusd"] == plain_cost
    assert mill.simulator.bill()["total_nusd"] == 2 * plain_cost


def test_without_include_usage_every_chunk_has_a_choice_and_the_last_our_object(
    client: openai.OpenAI,
) -> None:
    chunks = list(client.chat.completions.create(model="tiny", messages=CAPITAL, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert "Paris" in text_of(chunks)
    assert chunks[-1].model_extra["promptmill"]["cost_nusd"] > 0


@pytest.mark.parametrize("model", ["tiny", "other-tiny", "middle", "large"])
def test_a_tool_call_is_streamed(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(
        model=model, messages=CAPITAL, tools=[TOOL], tool_choice="required"
    ) as stream:
        answer = stream.get_final_completion()
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.function.name == "look_up"
    assert '"city"' in (call.function.arguments or "")
    assert answer.choices[0].finish_reason == "tool_calls"


def test_several_choices_and_logprobs_are_streamed(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="tiny", messages=CAPITAL, stream=True, n=2))
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}


def test_a_weak_streamed_answer_is_not_escalated(client: openai.OpenAI, mill: ChatMill) -> None:
    mill.simulator.set_scenario({"rules": [{"fault": "truncated"}]})
    chunks = list(client.chat.completions.create(model="cheap", messages=STORY, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    assert mill.simulator.bill()["calls"] == 1


def test_a_sick_provider_is_passed_over_before_the_first_word(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.simulator.set_scenario({"rules": [{"match": {"wire": "openai"}, "fault": "500"}]})
    chunks = list(client.chat.completions.create(model="cheap", messages=CAPITAL, stream=True))
    assert "Paris" in text_of(chunks)
    assert chunks[-1].model_extra["promptmill"]["model"] == "other-tiny"
    mill.forget_health()


def test_errors_before_the_first_word_are_http_errors(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.project_with_limit("poor-streamer", 10)
    poor = client.with_options(default_headers={"X-Promptmill-Project": "poor-streamer"})
    with pytest.raises(openai.APIStatusError) as caught:
        poor.chat.completions.create(model="tiny", messages=CAPITAL, stream=True)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")


def test_a_cut_stream_breaks_off_with_an_error_and_costs_its_reservation(
    client: openai.OpenAI, mill: ChatMill, model: str
) -> None:
    mill.simulator.set_scenario({"rules": [{"fault": "cut_after"}]})
    stream = iter(client.chat.completions.create(model=model, messages=STORY, stream=True))
    read = [next(stream)]
    with pytest.raises(openai.APIError) as caught:
        read.extend(stream)
    assert text_of(read)
    assert caught.value.code in ("stream_cut", "connection_lost")
    (attempt,) = mill.attempts_of(mill.last_job().id)
    assert (attempt.status, attempt.cost_nusd) == ("unconfirmed", attempt.reserved_nusd)
    assert attempt.cost_nusd >= mill.simulator.bill()["total_nusd"] > 0
    assert mill.simulator.bill()["calls"] == 1
    mill.forget_health()


def test_who_hangs_up_cuts_the_call_and_pays_what_was_used(
    client: openai.OpenAI, mill: ChatMill, model: str
) -> None:
    mill.simulator.set_scenario({"latency_ms": 5000})
    stream = client.chat.completions.create(
        model=model, messages=STORY, stream=True, max_tokens=4000
    )
    heard = ""
    for chunk in stream:
        heard += chunk.choices[0].delta.content or ""
        if len(heard) > 20:
            break
    stream.close()
    job = mill.last_job().id
    wait_for(lambda: mill.result_of(job) is not None, "the job ends")

    (attempt,) = mill.attempts_of(job)
    wait_for(lambda: mill.simulator.bill()["calls"] == 1, "the provider notices")
    whole = len(heard) * 10
    assert mill.result_of(job).error["code"] == "client_gone"
    assert attempt.status == "unconfirmed"
    assert mill.simulator.bill()["total_nusd"] <= attempt.cost_nusd < attempt.reserved_nusd / 4
    assert mill.simulator.calls()[0]["output_tokens"] < whole
    wait_for(lambda: mill.last_batch().status in ("cancelled", "completed"), "the batch ends")
    assert mill.last_batch().cost_nusd == attempt.cost_nusd


def test_who_hangs_up_before_it_begins_pays_nothing(client: openai.OpenAI, mill: ChatMill) -> None:
    mill.stop_worker()
    try:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(max_retries=0, timeout=0.7).chat.completions.create(
                model="tiny", messages=CAPITAL, stream=True
            )
        wait_for(lambda: mill.last_batch().status == "cancelled", "it is called off")
    finally:
        mill.start_worker()
    assert mill.last_job().status == "cancelled"
    assert mill.simulator.bill()["calls"] == 0


def test_what_was_missed_is_read_from_the_database_when_the_answer_is_there(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    plain = client.chat.completions.create(model="tiny", messages=STORY)
    mill.simulator.set_scenario({"latency_ms": 2500})
    chunks = []
    for number, chunk in enumerate(
        client.chat.completions.create(model="tiny", messages=STORY, stream=True)
    ):
        chunks.append(chunk)
        if number in (2, 6):
            mill.deafen()
    assert text_of(chunks) == plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_whose_redis_dies_is_told_to_its_end_and_the_next_is_answered(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    plain = client.chat.completions.create(model="tiny", messages=STORY)
    mill.simulator.set_scenario({"latency_ms": 1500})
    chunks = []
    for number, chunk in enumerate(
        client.chat.completions.create(model="tiny", messages=STORY, stream=True)
    ):
        chunks.append(chunk)
        if number == 2:
            mill.redis.kill()
    mill.redis.start()
    assert text_of(chunks) == plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    told = chunks[-1].model_extra["promptmill"]
    (attempt,) = mill.attempts_of(mill.last_job().id)
    assert (attempt.status, attempt.cost_nusd) == ("billed", told["cost_nusd"])
    client.chat.completions.create(model="tiny", messages=STORY)
    assert mill.simulator.bill()["calls"] == 3
    assert mill.simulator.bill()["total_nusd"] == 3 * attempt.cost_nusd


def test_tokens_come_while_the_provider_still_writes(mill: ChatMill) -> None:
    mill.simulator.set_scenario({"latency_ms": 3000})
    body = {"model": "tiny", "messages": STORY, "stream": True}
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    url = f"{mill.url}/v1/chat/completions"
    times = []
    with httpx.stream(
        "POST", url, json=body, headers=headers, timeout=30, trust_env=False
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            times.append(time.monotonic())
    assert lines[-2] == "data: [DONE]"
    assert times[-1] - times[0] > 1.0


async def test_streams_are_read_by_the_async_sdk(mill: ChatMill) -> None:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{mill.url}/v1", api_key=ADMIN_KEY, http_client=http
    ) as client:
        stream = await client.chat.completions.create(model="auto", messages=CAPITAL, stream=True)
        assert "Paris" in text_of([chunk async for chunk in stream])
