"""`python -m benchmarks.responder READY_FILE`: a provider that costs almost nothing.

Raw asyncio on uvloop, one answer for all, on the OpenAI wire. The first part of the path says how
slow it is: `/200/v1/chat/completions` answers after 200 ms, `/200x2/...` lets 2 % of the calls take
25 times as long. About 30 µs a call, which no contestant is charged for. `GET /flow` tells what it
saw, every 20 ms: how many calls had come by then, and how many of them it held.
"""

import asyncio
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import ClassVar

import orjson
import uvloop

from benchmarks.raw_requests import Requests

SLOW_FACTOR = 25
LOOK_EVERY_S = 0.02
ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It is forty-two: six times seven, as the question suggests, and "
                    "nothing in the given figures speaks against it.",
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 42,
            "completion_tokens": 27,
            "total_tokens": 69,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
)


def _reply(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: bench\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )


_REPLY = _reply(ANSWER)


@cache
def _pace(path: bytes) -> tuple[float, float]:
    """Seconds of an answer, and the share of slow ones, from the path's first part."""
    latency, _, percent = path.split(b"/")[1].partition(b"x")
    return int(latency) / 1000, int(percent or 0) / 100


class _Connection(Requests):
    calls = 0
    held = 0
    looks: ClassVar[list[tuple[float, int, int]]] = []

    def serve(self, path: bytes, _body: bytes) -> None:
        """Answer after the path's time."""
        if path == b"/flow":
            self._transport.write(_reply(orjson.dumps(_Connection.looks)))
            return
        seconds, slow = _pace(path)
        _Connection.calls += 1
        _Connection.held += 1
        if slow and _Connection.calls % round(1 / slow) == 0:
            seconds *= SLOW_FACTOR
        self._loop.call_later(seconds, self._answer)

    def _answer(self) -> None:
        _Connection.held -= 1
        if not self._transport.is_closing():
            self._transport.write(_REPLY)


async def _look() -> None:
    while True:
        _Connection.looks.append((time.time(), _Connection.calls, _Connection.held))
        await asyncio.sleep(LOOK_EVERY_S)


async def _serve(listening: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, sock=listening)
    await asyncio.gather(server.serve_forever(), _look())


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        Path(sys.argv[1]).write_text(f"http://127.0.0.1:{listening.getsockname()[1]}")
        uvloop.run(_serve(listening))
