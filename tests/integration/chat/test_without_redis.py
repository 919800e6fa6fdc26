"""Conversations while Redis is gone: new ones are refused at once, answered ones told again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from tests.integration.chat.conftest import ADMIN_KEY, ChatMill

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
KEYED: Any = {"Idempotency-Key": "asked-before-redis-was-gone"}


@contextmanager
def no_redis(mill: ChatMill) -> Iterator[None]:
    mill.redis.kill()
    try:
        yield
    finally:
        mill.redis.start()


def test_a_new_conversation_is_refused_at_once_and_an_answered_one_is_told(
    client: openai.OpenAI, mill: ChatMill
) -> None:
    answered = client.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=KEYED)
    begun = mill.last_batch().number
    hurried = client.with_options(max_retries=0, timeout=30.0)  # the API's patience is 60 s
    with no_redis(mill):
        for fields in ({}, {"stream": True}):
            with pytest.raises(openai.InternalServerError) as caught:
                hurried.chat.completions.create(model="tiny", messages=CAPITAL, **fields)
            refusal = caught.value
            assert (refusal.status_code, refusal.code) == (503, "unavailable")
            assert refusal.type == "server_error"
            assert refusal.response.headers["retry-after"] == "1"
        assert mill.last_batch().number == begun
        again = hurried.chat.completions.create(model="tiny", messages=CAPITAL, extra_headers=KEYED)
        assert again.id == answered.id
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/x-ndjson"}
        taken = httpx.post(
            f"{mill.url}/v1/batches", content=b'{"prompt": "a"}', headers=headers, trust_env=False
        )
        batch = taken.json()["id"]
        assert mill.last_batch().id == batch
        assert client.batches.cancel(batch).status in ("cancelling", "cancelled")

    assert client.chat.completions.create(model="tiny", messages=CAPITAL).choices
    assert mill.simulator.bill()["calls"] == 2
