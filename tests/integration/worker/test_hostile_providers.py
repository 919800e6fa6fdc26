"""Providers that answer nonsense: every job ends once, in its own way, and every cent is counted.

The answers come over real sockets and end in real databases, since a parser's outcome that cannot
be stored is as good as a crash.
"""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.mill import Mill, asking, running_mill
from tests.servers.simulator import SimulatorServer
from tests.unit.providers.answers import (
    anthropic_answer,
    cohere_answer,
    gemini_answer,
    openai_answer,
)
from worker.providers.completions import MOST_TOKENS

KEY = "key-of-acme"


@dataclass(frozen=True)
class Case:
    """What a model's provider answers; `ends`: the states the job may end in."""

    name: str
    model: str
    body: bytes
    ends: tuple[str, ...] = ("completed",)
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def case(name: str, model: str, answer: Any, *ends: str, **more: Any) -> Case:
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    return Case(name, model, body, ends or ("completed",), **more)


GIANT = MOST_TOKENS
TWICE = (
    b'{"id":"c","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":-5,"completion_tokens":-5},'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2}}'
)
CASES = [
    case("plain", "tiny", openai_answer()),
    case("a NUL in the text", "tiny", openai_answer("a\x00b")),
    case("a NUL in the text", "other-tiny", anthropic_answer("a\x00b")),
    case("a NUL in the text", "middle", gemini_answer("a\x00b")),
    case("a NUL in the text", "large", cohere_answer("a\x00b")),
    case("nothing but a NUL", "tiny", openai_answer("\x00"), "completed", "failed"),
    case(
        "giant usage",
        "tiny",
        openai_answer(prompt_tokens=GIANT, completion_tokens=GIANT, total_tokens=2 * GIANT),
    ),
    case(
        "giant usage",
        "other-tiny",
        anthropic_answer(
            input_tokens=GIANT,
            output_tokens=GIANT,
            cache_read_input_tokens=GIANT,
            cache_creation_input_tokens=GIANT,
        ),
    ),
    case(
        "giant usage",
        "middle",
        gemini_answer(promptTokenCount=GIANT, candidatesTokenCount=GIANT, thoughtsTokenCount=9),
    ),
    case(
        "giant usage",
        "large",
        cohere_answer(billed_units={"input_tokens": GIANT, "output_tokens": GIANT}),
    ),
    case("negative usage", "tiny", openai_answer(completion_tokens=-2), "failed"),
    case("usage given twice", "tiny", TWICE),
    case("a long id", "tiny", {**openai_answer(), "id": "i" * 10_000, "model": "m" * 10_000}),
    case("a strange end", "tiny", openai_answer(finish="\x00" * 400), "failed"),
    case("deep", "tiny", b'{"choices":' + b"[" * 50_000, "failed"),
    case(
        "our key in its error",
        "tiny",
        {
            "error": {
                "message": f"bad \x00 thing with {KEY} and Bearer {KEY}",
                "code": "x\x00",
            }
        },
        "failed",
        status=400,
    ),
]


@pytest.fixture
def provider() -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            found = re.search(rb"case (\d+)", asked)
            told = CASES[int(found[1])] if found else CASES[0]
            self.send_response(told.status)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def mill(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer, provider: str
) -> Iterator[Mill]:
    wires = ("acme", "anthropic", "google", "cohere")
    urls = dict.fromkeys(wires, provider) | {"acme": f"{provider}/v1"}
    made = running_mill(
        tmp_path, database_url, redis_url, simulator, base_urls=urls, patience_s=0, max_in_flight=1
    )
    with made as running:
        yield running


def test_whatever_a_provider_answers_each_job_ends_once_and_is_paid(
    mill: Mill, capfd: pytest.CaptureFixture[str]
):
    requests = [asking(f"case {n}", model=told.model) for n, told in enumerate(CASES)]
    between = [asking("case 0", model="tiny")] * len(CASES)
    made = mill.batch([*requests, *between])
    ids = made[: len(CASES)]
    for strange, plain in zip(ids, made[len(CASES) :], strict=True):
        # A good answer in between, or the provider would be left alone for a while.
        assert mill.worker.runner.run([strange]) == mill.worker.runner.run([plain]) == 1

    ended = {row.job_id: row for row in mill.results()}
    attempts: dict[int, list[Any]] = {}
    for row in mill.attempts():
        attempts.setdefault(row.job_id, []).append(row)
    for job_id, told in zip(ids, CASES, strict=True):
        what = f"{told.name}, {told.model}"
        assert job_id in ended, what
        assert ended[job_id].status in told.ends, (what, ended[job_id].error)
        for row in attempts[job_id]:
            assert row.status in {"billed", "free", "unconfirmed"}, what
            assert row.cost_nusd >= 0, what
            if row.status == "unconfirmed":
                assert row.cost_nusd == row.reserved_nusd, what
        if told.name == "giant usage":
            (row,) = attempts[job_id]
            assert row.output_tokens >= GIANT, what
            assert row.input_tokens >= GIANT, what
            assert row.cost_nusd > GIANT * 1000, what
    batch = mill.the_batch()
    assert batch.cost_nusd == sum(row.cost_nusd for rows in attempts.values() for row in rows)

    out = capfd.readouterr()
    shown = str([tuple(row) for row in (*mill.results(), *mill.attempts())])
    assert KEY not in shown + out.out + out.err
