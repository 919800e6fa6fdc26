"""Requests that are sent again: by OpenAI's SDK, which gives up too early, and under a key."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.integration.chat.conftest import ADMIN_KEY, ChatMill
from tests.servers.waiting import wait_for

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
KEYED: Any = {"Idempotency-Key": "asked-again"}


def impatient(client: openai.OpenAI, **more: Any) -> openai.OpenAI:
    """Gives up before the provider answers, and asks again by itself."""
    return client.with_options(timeout=0.8, max_retries=4, **more)


def test_what_the_sdk_asks_again_while_the_call_runs_is_paid_once(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.simulator.set_scenario({"latency_ms": 1800})
    answer = impatient(client).chat.completions.create(model="large", messages=CAPITAL)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert mill.simulator.bill()["calls"] == 1
    assert answer.model_extra["promptmill"]["cost_nusd"] == mill.simulator.bill()["total_nusd"]
    assert mill.last_batch().status == "completed"


def test_a_stream_that_the_sdk_asks_for_again_before_its_first_word_is_paid_once(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.simulator.set_scenario({"latency_ms": 2500})  # a second to the first word
    again: Any = {"x-stainless-retry-count": "1"}
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5, max_retries=0).chat.completions.create(
            model="tiny", messages=CAPITAL, stream=True
        )
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=CAPITAL, stream=True, extra_headers=again
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "Paris" in text
    assert mill.simulator.bill()["calls"] == 1


def test_an_answer_that_was_lost_on_its_way_is_told_to_the_repetition(mill: ChatMill) -> None:
    def ask(tries: int, text: str = "What is 2 + 2?", key: str = ADMIN_KEY) -> httpx.Response:
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {key}", "x-stainless-retry-count": str(tries)}
        url = f"{mill.url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=30, trust_env=False)

    first = ask(0)
    assert ask(1).json() == first.json()
    assert mill.simulator.bill()["calls"] == 1
    assert ask(1, "What is 2 + 3?").json()["id"] != first.json()["id"]
    assert ask(0).json()["id"] != first.json()["id"]  # a person asks twice
    assert mill.simulator.bill()["calls"] == 3

    made = httpx.post(
        f"{mill.url}/v1/keys",
        json={"name": "another"},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
        trust_env=False,
    )
    assert ask(1, key=made.json()["key"]).is_success
    assert mill.simulator.bill()["calls"] == 4  # another caller's repetition is none of ours


def test_who_asks_again_after_an_error_asks_anew(client: openai.OpenAI, mill: ChatMill) -> None:
    rule = {"match": {"wire": "cohere"}, "fault": "429", "retry_after_s": 0.2, "times": 1}
    mill.simulator.set_scenario({"rules": [rule]})
    answer = client.chat.completions.create(model="large", messages=CAPITAL)
    assert "Paris" in (answer.choices[0].message.content or "")
    mill.forget_health()


def test_of_two_under_one_key_one_may_hang_up(client: openai.OpenAI, mill: ChatMill) -> None:
    mill.simulator.set_scenario({"latency_ms": 1500})
    both_wait = threading.Barrier(2)

    def ask(timeout: float) -> str | None:
        both_wait.wait()
        try:
            answer = client.with_options(timeout=timeout, max_retries=0).chat.completions.create(
                model="tiny", messages=CAPITAL, extra_headers=KEYED
            )
        except openai.APITimeoutError:
            return None
        return answer.choices[0].message.content

    with ThreadPoolExecutor(2) as threads:
        gone, answered = threads.map(ask, (0.5, 30.0))
    assert gone is None
    assert answered is not None
    assert "Paris" in answered
    assert mill.simulator.bill()["calls"] == 1
    assert mill.last_batch().status == "completed"


def test_what_came_to_no_answer_is_asked_anew_under_its_key(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    mill.stop_worker()
    keyed: Any = {"Idempotency-Key": "called-off"}
    try:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(max_retries=0, timeout=0.5).chat.completions.create(
                model="tiny", messages=CAPITAL, extra_headers=keyed
            )
        wait_for(lambda: mill.last_batch().status == "cancelled", "it is called off")
    finally:
        mill.start_worker()
    answer = client.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=keyed)
    assert "Paris" in (answer.choices[0].message.content or "")
    again = client.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=keyed)
    assert again.id == answer.id
    assert mill.simulator.bill()["calls"] == 1
