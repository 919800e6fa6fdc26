"""What the client asks, and what it makes of the answers; no connection."""

import orjson
import pytest

from producer.client import calls
from producer.client.answers import (
    ApiError,
    batch_of,
    error_of,
    json_of,
    lines_of,
    pause_before_retry,
)


def test_options_that_are_not_given_are_not_sent() -> None:
    call = calls.submit({"strict": False}, "key-1")
    assert call.params == {}
    assert call.headers["Idempotency-Key"] == "key-1"


def test_every_option_of_a_submission_is_sent() -> None:
    call = calls.submit(
        {
            "project": "acme",
            "max_cost_usd": "0.5",
            "strict": True,
            "completion_window": "2h",
            "priority": "interactive",
            "webhook_url": "https://example.com/?a=b&c",
            "name": "first",
            "metadata": {"who": "me"},
        },
        "k",
    )
    assert call.params == {
        "project": "acme",
        "max_cost_usd": "0.5",
        "strict": "true",
        "completion_window": "2h",
        "priority": "interactive",
        "webhook_url": "https://example.com/?a=b&c",
        "name": "first",
        "metadata": '{"who":"me"}',
    }


def test_an_id_cannot_reach_another_path() -> None:
    assert calls.path("batches", "../keys?x#y") == "/v1/batches/..%2Fkeys%3Fx%23y"


def test_a_null_is_sent_where_it_means_something() -> None:
    assert calls.put("/v1/budget", {"day_usd": None}).body == {"day_usd": None}
    assert calls.post("/v1/keys", {"name": None, "project": "p"}).body == {"project": "p"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_only_a_newline_ends_a_line_however_the_blocks_are_cut(size: int) -> None:
    lines = [{"line": 1, "text": "a\u2028b\x85c"}, {"line": 2, "text": "d"}]
    body = b"\n".join(orjson.dumps(line) for line in lines)
    blocks = [body[at : at + size] for at in range(0, len(body), size)]
    assert list(lines_of(blocks)) == lines
    assert list(lines_of([*blocks, b"\n", b"\n"])) == lines


def test_an_error_of_a_proxy_is_still_an_error_with_its_status() -> None:
    error = error_of(502, {}, b"<html>Bad gateway</html>")
    assert (error.status, error.request_id) == (502, None)
    assert "502" in error.message


def test_an_error_keeps_what_the_api_said() -> None:
    body = orjson.dumps(
        {"error": {"message": "no", "type": "t", "param": "file", "code": "empty_file"}}
    )
    error = error_of(400, {"x-request-id": "req_9"}, body)
    assert (error.message, error.code, error.param, error.request_id) == (
        "no",
        "empty_file",
        "file",
        "req_9",
    )


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="not JSON"):
        json_of(200, body)


@pytest.mark.parametrize("raw", [{}, {"id": "b", "status": "x"}, {"promptmill": None}])
def test_what_is_no_batch_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(ApiError, match="not a Promptmill batch"):
        batch_of(raw)


def _pause(**given: object) -> float | None:
    usual = {"repeatable": True, "status": None, "headers": {}, "sent": True}
    return pause_before_retry(1, **(usual | given))  # type: ignore[arg-type]


def test_a_call_is_sent_again_only_where_that_is_safe() -> None:
    assert _pause() is not None
    assert _pause(repeatable=False) is None
    assert _pause(repeatable=False, sent=False) is not None
    assert _pause(status=503) is not None
    assert _pause(status=503, repeatable=False) is None
    assert _pause(status=400) is None
    assert _pause(status=200) is None
    assert _pause(status=503, headers={"x-should-retry": "false"}) is None


def test_the_server_says_how_long_to_wait_within_reason() -> None:
    assert _pause(status=429, headers={"retry-after": "2"}) == 2.0
    assert _pause(status=429, headers={"retry-after": "3600"}) is None
    assert _pause(status=429, headers={"retry-after": "nan"}) is None
    assert _pause(status=429, headers={"retry-after": "Sat, 21 Nov 2026 00:00:00 GMT"}) == 0.2


def test_it_gives_up_after_a_few_tries() -> None:
    pauses = [
        pause_before_retry(tries, repeatable=True, status=None, headers={}, sent=True)
        for tries in (1, 2, 3, 4)
    ]
    assert pauses == [0.2, 0.5, 1.0, None]
