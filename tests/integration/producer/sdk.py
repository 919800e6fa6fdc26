"""OpenAI's official SDK against the API of these tests, and what its tests say again and again."""

import io
import time
from collections.abc import Callable
from typing import Any

import openai
import orjson
from openai.types import Batch, FileObject

CHAT = "/v1/chat/completions"
PATIENCE_S = 60


def connect(address: str, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, **options)


def line(custom_id: str, *, url: str = CHAT, **body: Any) -> bytes:
    question = {"role": "user", "content": f"What does {custom_id} mean?"}
    asked = {"model": "auto", "messages": [question], **body}
    return orjson.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": asked})


def embeddings_line(custom_id: str, **body: Any) -> bytes:
    asked = {"model": "auto", **body}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": asked}
    return orjson.dumps(line)


def lines(count: int, **body: Any) -> bytes:
    return b"\n".join(line(f"c{i}", **body) for i in range(1, count + 1))


def upload(client: openai.OpenAI, content: bytes, name: str = "in.jsonl") -> FileObject:
    return client.files.create(file=(name, io.BytesIO(content)), purpose="batch")


def batch_of(client: openai.OpenAI, content: bytes, **more: Any) -> Batch:
    asked: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h", **more}
    return client.batches.create(input_file_id=upload(client, content).id, **asked)


def until(look: Callable[[], Batch], *statuses: str) -> Batch:
    """The batch once it has one of the statuses."""
    deadline = time.monotonic() + PATIENCE_S
    while (batch := look()).status not in statuses:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
    return batch


def read_lines(content: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(each) for each in content.splitlines()]
