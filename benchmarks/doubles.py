"""`python -m benchmarks.doubles READY_FILE`: providers that limit in ways of their own, in one.

Nothing here is the simulator's: gauges, answers and headers are written anew, as somebody would who
has read the vendors' pages only. The first part of a path names the kind (`/date/v1/...`); `GET
/seen` tells per kind what was let in and refused, and what the limit would have allowed so far.
"""

import asyncio
import math
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from benchmarks.allowances import Gauge
from benchmarks.raw_requests import Requests

RPM: Final = 900.0
TPM: Final = 60_000.0
LATENCY_S: Final = 0.4
INPUT, OUTPUT = 40, 30
STEP_S: Final = 30.0  # of a limit that changes: full, half, full, half ...

Headers = dict[str, str]


def _seconds(wait: float) -> Headers:
    return {"retry-after": str(math.ceil(wait))}


def _milliseconds(wait: float) -> Headers:
    return {"retry-after-ms": str(math.ceil(wait * 1000))}


def _date(wait: float) -> Headers:
    at = datetime.now(UTC) + timedelta(seconds=math.ceil(wait))
    return {"retry-after": format_datetime(at, usegmt=True)}


def _nothing(_: float) -> Headers:
    return {}


@dataclass(slots=True)
class Kind:
    """A provider. gauges: by what they count: requests, tokens, input, output. counts: tokens as
    they are asked for, or as they were used. told: limits in the headers of all answers.
    """

    name: str
    gauges: Mapping[str, Gauge]
    counts: str = "asked"
    dialect: Callable[[float], Headers] = _seconds
    told: str = ""
    changes: bool = False
    let_in: int = 0
    refused: int = 0
    taken: float = 0.0
    allowed: float = 0.0
    began: float = 0.0
    seen_at: float = 0.0

    @property
    def main(self) -> str:
        """What its use is told of."""
        return "output" if "output" in self.gauges else next(iter(self.gauges))

    def tick(self, now: float) -> None:
        """Count what is allowed as time goes by, and change the limit."""
        if not self.began:
            self.began = self.seen_at = now
        gauge = self.gauges[self.main]
        self.allowed += (now - self.seen_at) * gauge.per_minute / 60
        self.seen_at = now
        if self.changes:
            half = int((now - self.began) / STEP_S) % 2
            gauge.look(now)
            gauge.per_minute = RPM / 2 if half else RPM

    def amounts(self, max_tokens: int) -> dict[str, float]:
        """What a call counts when it comes."""
        if self.counts == "used":
            return {"requests": 1.0, "tokens": 0.0, "input": INPUT, "output": 0.0}
        asked = INPUT + max_tokens
        return {"requests": 1.0, "tokens": asked, "input": INPUT, "output": max_tokens}

    def admit(self, now: float, max_tokens: int) -> float:
        """0 where a call is let in, or how long it should wait."""
        self.tick(now)
        amounts = self.amounts(max_tokens)
        # What counts when it is used lets a call in while anything is left.
        least = {name: amounts[name] or 1.0 for name in self.gauges}
        wait = max(gauge.wait_s(now, least[name]) for name, gauge in self.gauges.items())
        if wait > 0:
            self.refused += 1
            return wait
        self.let_in += 1
        self.taken += amounts[self.main]
        for name, gauge in self.gauges.items():
            gauge.take(now, amounts[name])
        return 0.0

    def end(self, now: float) -> None:
        """A call was answered."""
        if self.counts != "used":
            return
        for name, used in (("tokens", INPUT + OUTPUT), ("output", OUTPUT)):
            gauge = self.gauges.get(name)
            if gauge is not None:
                gauge.look(now)
                gauge.take(now, used)
                self.taken += used if name == self.main else 0.0

    def headers(self, now: float) -> Headers:
        """What it states of its limits."""
        said: Headers = {}
        for name, gauge in self.gauges.items() if self.told else ():
            left, reset_s = max(0, int(gauge.look(now))), max(0.0, gauge.full_in_s(now))
            if self.told == "anthropic":
                stem = "anthropic-ratelimit-" + (name if name == "requests" else f"{name}-tokens")
                at = (datetime.now(UTC) + timedelta(seconds=reset_s)).isoformat("T", "seconds")
                said[f"{stem}-limit"], said[f"{stem}-remaining"] = str(int(gauge.most)), str(left)
                said[f"{stem}-reset"] = at.replace("+00:00", "Z")
            else:
                said[f"x-ratelimit-limit-{name}"] = str(int(gauge.per_minute))
                said[f"x-ratelimit-remaining-{name}"] = str(left)
                said[f"x-ratelimit-reset-{name}"] = f"{reset_s:.3f}s"
        return said


def kinds() -> dict[str, Kind]:
    """By name; what is not said is as at most vendors."""

    def requests(span_s: float, way: str) -> dict[str, Gauge]:
        return {"requests": Gauge(RPM, span_s, way)}

    def tokens(span_s: float, way: str) -> dict[str, Gauge]:
        return {"tokens": Gauge(TPM, span_s, way)}

    parts = {
        "requests": Gauge(10 * RPM, 60.0, "bucket"),
        "input": Gauge(TPM, 60.0, "bucket"),
        "output": Gauge(TPM / 2, 60.0, "bucket"),
    }
    several = [
        Kind("warm", {"requests": Gauge(1e6, 60.0, "bucket")}),
        Kind("second-clock", requests(1.0, "clock")),
        Kind("second-sliding", requests(1.0, "sliding")),
        Kind("minute-first", requests(60.0, "first")),
        Kind("minute-clock", requests(60.0, "clock")),
        Kind("date", requests(1.0, "bucket"), dialect=_date),
        Kind("ms", requests(1.0, "bucket"), dialect=_milliseconds),
        Kind("mute", requests(1.0, "bucket"), dialect=_nothing),
        Kind("mute-minute", requests(60.0, "sliding"), dialect=_nothing),
        Kind("changing", requests(1.0, "bucket"), changes=True),
        Kind("changing-told", requests(1.0, "bucket"), changes=True, told="openai"),
        Kind("asked-sliding", tokens(60.0, "sliding")),
        Kind("asked-sliding-told", tokens(60.0, "sliding"), told="openai"),
        Kind("asked-bucket-told", tokens(60.0, "bucket"), told="openai"),
        Kind("used-sliding-told", tokens(60.0, "sliding"), counts="used", told="openai"),
        Kind("anthropic", parts, counts="used", told="anthropic"),
    ]
    return {kind.name: kind for kind in several}


def _answer(wire: str) -> bytes:
    text = "It is forty-two: six times seven, as the question suggests, and nothing speaks against."
    if wire == "anthropic":
        body: Any = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "bench",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "stop_sequence": None, "usage": {"input_tokens": INPUT, "output_tokens": OUTPUT},
        }  # fmt: skip
    else:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT}
        usage["total_tokens"] = INPUT + OUTPUT
        body = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000,
            "model": "bench", "choices": [choice], "usage": usage,
        }  # fmt: skip
    return orjson.dumps(body)


def _refusal(wire: str) -> bytes:
    error = {"type": "rate_limit_error", "message": "Too many requests.", "code": "rate_limit"}
    return orjson.dumps({"type": "error", "error": error} if wire else {"error": error})


class _Connection(Requests):
    def __init__(self, providers: Mapping[str, Kind]) -> None:
        super().__init__()
        self._providers = providers

    def serve(self, path: bytes, body: bytes) -> None:
        """Answer, or refuse."""
        self._serve(path.decode().split("/")[1:], body)

    def _serve(self, path: list[str], body: bytes) -> None:
        now = time.time()
        if path == ["seen"]:
            for kind in self._providers.values():
                if kind.began:
                    kind.tick(now)
            seen = {
                name: [kind.let_in, kind.refused, kind.taken, kind.allowed]
                for name, kind in self._providers.items()
            }
            self._write(200, orjson.dumps(seen), {})
            return
        kind = self._providers[path[0]]
        wire = "anthropic" if path[-1] == "messages" else ""
        max_tokens = int(orjson.loads(body).get("max_tokens") or 256)
        wait = kind.admit(now, max_tokens)
        headers = kind.headers(now)
        if wait > 0:
            self._write(429, _refusal(wire), {**headers, **kind.dialect(wait)})
            return
        self._loop.call_later(LATENCY_S, self._end, kind, _answer(wire), headers)

    def _end(self, kind: Kind, answer: bytes, headers: Headers) -> None:
        kind.end(time.time())
        self._write(200, answer, headers)

    def _write(self, status: int, body: bytes, headers: Headers) -> None:
        if not self._transport.is_closing():
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{lines}"
            head += f"content-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


async def _serve(listening: socket.socket) -> None:
    providers = kinds()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(providers), sock=listening)
    await server.serve_forever()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening_on:
        Path(sys.argv[1]).write_text(f"http://127.0.0.1:{listening_on.getsockname()[1]}")
        uvloop.run(_serve(listening_on))
