"""Chat completions of a project that keeps its answers, plain and streamed."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from redis import Redis

from tests.integration.chat.conftest import ADMIN_KEY, ChatMill
from tests.servers.waiting import wait_for

RIVER: Any = [{"role": "user", "content": "Which river flows through Vienna?"}]


@pytest.fixture
def keeping(mill: ChatMill) -> Iterator[ChatMill]:
    _keep(mill, 60)
    yield mill
    _keep(mill, None)


def _keep(mill: ChatMill, seconds: int | None) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    url = f"{mill.url}/v1/cache"
    body = {"keep_s": seconds}
    assert httpx.put(url, json=body, headers=headers, trust_env=False).is_success


def wait_until_kept(mill: ChatMill) -> None:
    with Redis.from_url(mill.redis.url) as client:
        wait_for(lambda: any(client.scan_iter("{promptmill}:answer:*")), "an answer is kept")


def test_the_same_question_is_answered_from_the_cache_plain_and_streamed(
    client: openai.OpenAI, keeping: ChatMill
) -> None:
    first = client.chat.completions.create(model="tiny", messages=RIVER)
    paid = first.model_extra["promptmill"]["cost_nusd"]  # type: ignore[index]
    wait_until_kept(keeping)

    again = client.chat.completions.create(model="tiny", messages=RIVER)
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=RIVER, stream=True, stream_options={"include_usage": True}
        )
    )

    assert keeping.simulator.bill()["calls"] == 1
    text = first.choices[0].message.content
    assert again.choices[0].message.content == text
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    for told in (again.model_extra, chunks[-1].model_extra):
        ours = told["promptmill"]  # type: ignore[index]
        assert (ours["cached"], ours["attempts"], ours["cost_nusd"]) == (True, 0, 0)
        assert ours["saved_nusd"] == paid > 0


def test_a_streamed_answer_is_kept_and_one_request_may_opt_out(
    client: openai.OpenAI, keeping: ChatMill
) -> None:
    list(client.chat.completions.create(model="middle", messages=RIVER, stream=True))
    wait_until_kept(keeping)
    again = client.chat.completions.create(model="middle", messages=RIVER)
    anew = client.chat.completions.create(
        model="middle", messages=RIVER, extra_body={"cache": False}
    )
    assert again.model_extra["promptmill"]["cached"] is True  # type: ignore[index]
    assert anew.model_extra["promptmill"]["cached"] is False  # type: ignore[index]
    assert keeping.simulator.bill()["calls"] == 2
