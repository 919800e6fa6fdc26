"""Files as they come: every good line is answered once, every bad one named, nothing is lost."""

import json
from typing import Any

import pytest

from tests.acceptance.whole_mill import JSONL, WholeMill

pytestmark = pytest.mark.slow


def native(**fields: Any) -> bytes:
    return json.dumps({"prompt": "What is the capital of Peru?", **fields}).encode()


def openai(**changes: Any) -> bytes:
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
    line = {"custom_id": "o", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line | changes).encode()


GOOD = (
    b"\xef\xbb\xbf" + native(custom_id="after-a-mark", prompt="After a mark?"),
    native(custom_id="windows", prompt="On Windows?") + b"\r",
    openai(custom_id="openai"),
    native(prompt="Nameless?"),
    native(prompt="Nameless, too?"),
    b" \t" + native(custom_id="blanks", prompt="Between blanks?") + b"  ",
    native(custom_id="\u00fc\u2713\U0001f600", prompt="Gr\u00fc\u00dfe \U0001f600"),
    native(custom_id="brackets", prompt="[[[{{{((( " * 500),
    native(custom_id="'; DROP TABLE jobs; --", prompt="\x1b[31mred <script>alert(1)</script>"),
    native(custom_id="all", model="mid", max_tokens=20, temperature=0, metadata={"k": "v"},
           preferences={"cost": 1}, constraints={"max_cost_usd": 1, "min_tier": "mid"}),
    native(custom_id="twice", prompt="Twice?"),
)  # fmt: skip
BAD: tuple[tuple[bytes, str | None, str], ...] = (
    (b"no json", None, "invalid_json_line"),
    (b'{"prompt": "cut', None, "invalid_json_line"),
    (b'{"prompt": "x", "temperature": NaN}', None, "invalid_json_line"),
    (b'["x"]', None, "not_an_object"),
    (b"null", None, "not_an_object"),
    (b"{}", "prompt", "missing_required_parameter"),
    (b'{"messages": []}', "messages", "invalid_value"),
    (native(messages=[{"role": "user", "content": "y"}]), "prompt", "prompt_and_messages"),
    (native(custom_id="twice"), "custom_id", "duplicate_custom_id"),
    (native(custom_id=7), "custom_id", "invalid_type"),
    (native(model="gpt-none"), "model", "model_not_found"),
    (native(prompt=5), "prompt", "invalid_type"),
    (native(prompt="  "), "prompt", "invalid_value"),
    (native(max_tokens="12"), "max_tokens", "invalid_type"),
    (native(max_tokens=True), "max_tokens", "invalid_type"),
    (native(max_tokens=0), "max_tokens", "invalid_value"),
    (native(temperature=1e308), "temperature", "invalid_value"),
    (b'{"prompt": "x", "max_tokens": 1' + b"0" * 400 + b"}", None, "invalid_value"),
    (b'{"prompt": "x", "metadata": {"a": 123456789012345678901234}}', None, "invalid_value"),
    (native(promt="x"), "promt", "unknown_parameter"),
    (native(preferences={"speed": 1}), "preferences.speed", "unknown_parameter"),
    (native(constraints={"min_tier": "best"}), "constraints.min_tier", "invalid_value"),
    (openai(method="GET"), "method", "invalid_value"),
    (openai(url="/v1/responses"), "url", "url_mismatch"),
    (openai(body=[]), "body", "invalid_type"),
    (b'{"prompt": "\xff\xfe"}', None, "invalid_encoding"),
    (b'{"prompt": "\\ud800"}', None, "invalid_encoding"),
    (b'{"prompt": "a\x00b"}', None, "nul_character"),
    (b'{"prompt": "a\\u0000b"}', None, "nul_character"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, None, "nested_too_deeply"),
    (b"[" * 300_000, None, "nested_too_deeply"),
    (native(prompt="z" * 5_000_000), None, "line_too_long"),
)


def mixed() -> tuple[bytes, dict[int, int], dict[int, tuple[str | None, str]]]:
    """The file; its good lines' places in GOOD and its bad ones' field and code, by number."""
    good: dict[int, int] = {}
    bad: dict[int, tuple[str | None, str]] = {}
    lines: list[bytes] = []
    for index, line in enumerate(GOOD):
        lines.append(line)
        good[len(lines)] = index
        lines.append(b"" if index % 2 else b" \t\r")
    for content, field, code in BAD:
        lines.append(content)
        bad[len(lines)] = (field, code)
    lines.append(native(custom_id="without-an-end", prompt="Without an end?"))
    good[len(lines)] = len(GOOD)
    return b"\n".join(lines), good, bad


def test_every_good_line_is_answered_once_and_every_bad_one_is_named(mill: WholeMill) -> None:
    content, good, bad = mixed()

    submitted = mill.submit(content)

    named = {line["line"]: (line["field"], line["code"]) for line in submitted["rejected"]}
    assert named == bad
    assert all(line["message"] for line in submitted["rejected"])
    batch = mill.ended(submitted["id"])
    assert batch["status"] == "completed"
    results = mill.results(submitted["id"])
    assert [line["line"] for line in results] == sorted({*good, *bad})
    for line in results:
        if line["line"] in bad:
            assert (line["status"], line["error"]["code"]) == ("failed", bad[line["line"]][1])
            assert line["cost_nusd"] == 0
        else:
            assert (line["status"], line["error"]) == ("completed", None)
            assert line["text"]
            assert line["cost_nusd"] > 0
    counts = batch["promptmill"]["counts"]
    assert (counts["completed"], counts["failed"]) == (len(good), len(bad))
    assert mill.simulator.bill()["calls"] == sum(line["attempts"] for line in results) == len(good)


def test_a_strict_file_with_a_bad_line_runs_nothing(mill: WholeMill) -> None:
    content, _, bad = mixed()
    before = mill.json("status")

    done = mill.call("submit", mill.file(content), "--strict", "--json")

    assert done.returncode == 1
    assert {line["line"] for line in json.loads(done.stdout)["rejected"]} == set(bad)
    assert mill.json("status") == before
    assert mill.simulator.bill()["calls"] == 0


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"], ids=repr)
def test_a_file_without_lines_is_refused(mill: WholeMill, content: bytes) -> None:
    done = mill.call("submit", mill.file(content))
    assert done.returncode == 1
    assert "no lines" in done.stderr


def test_a_key_names_one_submission_for_ever(mill: WholeMill) -> None:
    lines = [{"prompt": f"What is {n} + 1?"} for n in range(3)]
    first = mill.submit(lines, "--idempotency-key", "once")

    again = mill.submit(lines, "--idempotency-key", "once")
    other = mill.call("submit", mill.file([{"prompt": "x"}]), "--idempotency-key", "once")
    capped = mill.http.post(
        "/v1/batches",
        params={"max_cost_usd": "1"},
        content=b"\n".join(json.dumps(line).encode() for line in lines),
        headers={"idempotency-key": "once", "content-type": JSONL},
    )

    assert again["id"] == first["id"]
    assert other.returncode == 1
    assert "another file" in other.stderr
    assert capped.status_code == 409
    assert capped.json()["error"]["code"] == "idempotency_conflict"
    mill.ended(first["id"])
    assert mill.simulator.bill()["calls"] == 3
