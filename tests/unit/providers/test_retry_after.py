from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.providers.retry_after import LONGEST_S, duration_s, retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "message", "delay", "expected"),
    [
        ({"retry-after-ms": "1500"}, "", None, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", None, 0.25),
        ({"retry-after": "46"}, "", None, 46.0),
        ({"retry-after": "0.5"}, "", None, 0.5),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, "", None, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:30 GMT"}, "", None, 0.0),
        ({}, "", "46s", 46.0),
        ({}, "", "3.25s", 3.25),
        ({}, "Rate limit reached. Please try again in 3.89s. Visit", None, 3.89),
        ({}, "Please retry in 46s.", None, 46.0),
        ({}, "Please retry in 10h17m5.7s.", None, 37025.7),
        ({}, "try again in 120ms", None, 0.12),
        ({}, "Try again in 6m0s", None, 360.0),
        ({}, "please retry after 30 seconds", None, 30.0),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.56s"},
            "",
            None,
            179.56,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "10",
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "7.66s",
            },
            "",
            None,
            7.66,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:08Z",
            },
            "",
            None,
            8.0,
        ),
        ({"x-ratelimit-reset": "1795262410000"}, "", None, 10.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "5s"}, "", None, None),
        ({"retry-after": "soon"}, "slow down", None, None),
        ({"retry-after": "9" * 18}, "", None, LONGEST_S),
        ({}, "", None, None),
    ],
)
def test_every_dialect_is_read(
    headers: dict[str, str], message: str, delay: str | None, expected: Any
):
    wait = retry_after_s(headers, message, NOW, retry_delay=delay)
    assert wait == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("text", ["", "s", "5", "1x", "-3s", "1s foo", "٣s x"])
def test_what_is_no_duration_is_none(text: str | None):
    assert duration_s(text) is None


@given(st.text(), st.text(), st.text())
def test_no_text_surprises_it(header: str, message: str, delay: str | None):
    headers = {"retry-after": header, "retry-after-ms": delay, "x-ratelimit-reset-tokens": message}
    wait = retry_after_s(headers, message, NOW, retry_delay=delay)
    assert wait is None or 0 <= wait <= LONGEST_S


@given(st.floats(0, 86_000).map(lambda s: round(s, 3)))
def test_a_delay_in_words_is_read_back(seconds: float):
    assert retry_after_s({}, f"Please retry in {seconds}s.", NOW) == pytest.approx(seconds)
