import json
import logging
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from shared.telemetry import Redactor


def redacted(log_prompts: bool = False, **event: Any) -> dict[str, Any]:
    return dict(Redactor(log_prompts=log_prompts)(None, "info", event))


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop1234",
        "Bearer abcdefghijklmnop",
        "gsk_abcdefghijklmnop1234",
        "AIzaSyA1234567890abcdefghijklmnop",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "redis://user:hunter2secret@host:6379/0",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    ],
)
def test_what_looks_like_a_key_is_taken_out_wherever_it_stands(secret: str) -> None:
    line = json.dumps(redacted(event=f"refused: {secret} was wrong", deep={"a": [secret]}))
    for part in ("abcdefghijklmnop", "MfKQ9r8", "hunter2", "A1234567890", "eyJzdWIi"):
        assert part not in line
    assert "was wrong" in line


@pytest.mark.parametrize("field", ["api_key", "authorization", "password", "signing_secret", "key"])
def test_a_field_named_like_a_secret_is_never_written(field: str) -> None:
    assert redacted(**{field: "short"}) == {field: "[redacted]"}


def test_counts_and_ids_are_left_alone() -> None:
    event = {"input_tokens": 12, "batch": "batch_019f", "claim_token": "00ff", "max_tokens": 5}
    assert redacted(**event) == event


@pytest.mark.parametrize("field", ["prompt", "messages", "text", "content", "completion"])
def test_prompts_are_dropped_unless_they_are_asked_for(field: str) -> None:
    assert field not in redacted(event="x", nested={field: "hello"}, **{field: "hello"})
    assert "hello" not in str(redacted(event="x", nested={field: "hello"}))
    assert redacted(log_prompts=True, **{field: "hello"}) == {field: "hello"}


def test_a_validation_error_does_not_repeat_the_refused_prompt() -> None:
    text = "Input should be a string [type=string_type, input_value='my prompt', input_type=str]"
    assert "my prompt" not in redacted(exception=text)["exception"]


def test_both_kinds_of_logging_give_json_lines_with_the_bound_ids() -> None:
    script = """
        import logging
        from shared.telemetry import bound, configure_logging, get_logger
        configure_logging(level="info", as_json=True)
        with bound(batch="batch_1", job="7"):
            get_logger("ours").info("chunk_done", jobs=3, prompt="secret words")
            logging.getLogger("celery.worker").warning("lost %s", "Bearer abcdefghijklmn")
            try:
                raise ValueError("broken sk-abcdefghijklmnopqrst")
            except ValueError:
                get_logger("ours").exception("failed")
        logging.getLogger("ours").debug("not shown")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    first, second, third = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["jobs"], first["batch"], first["job"]) == (
        "chunk_done",
        3,
        "batch_1",
        "7",
    )
    assert "prompt" not in first
    assert second["event"] == "lost Bearer [redacted]"
    assert (second["level"], second["logger"], second["batch"]) == (
        "warning",
        "celery.worker",
        "batch_1",
    )
    assert "ValueError: broken [redacted]" in third["exception"]
    assert logging.getLogger("ours").level == logging.NOTSET
