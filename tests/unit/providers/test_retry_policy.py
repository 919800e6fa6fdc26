from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.inference import Usage
from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    ProviderError,
    RequestRefused,
    Throttled,
    Unavailable,
)
from worker.retry_policy import (
    LONGEST_DELAY_S,
    MAX_RETRIES,
    RetryAt,
    Stop,
    TryElsewhere,
    decide,
    retry_if_worth_it,
    stop_as_decided,
    wait_as_decided,
)


@pytest.mark.parametrize(
    ("error", "decisions"),
    [
        (NotSent("connect_failed", "m"), [RetryAt] * 4 + [TryElsewhere]),
        (Unavailable("http_500", "m", status=500), [RetryAt] * 4 + [TryElsewhere]),
        (Throttled("throttled", "m", status=429), [RetryAt] * 4 + [TryElsewhere]),
        (MaybeBilled("timeout", "m"), [RetryAt, TryElsewhere]),
        (Unavailable("answer_failed", "m", billed=Usage(1)), [RetryAt, TryElsewhere]),
        (NotSent("cannot_encode", "m"), [TryElsewhere]),
        (AccountRefused("invalid_key", "m", status=401), [TryElsewhere]),
        *[(RequestRefused("r", "m", status=s), [TryElsewhere]) for s in (400, 404, 413, 422)],
        (RequestRefused("r", "m", status=405), [Stop]),
    ],
)
def test_each_error_is_tried_again_as_often_as_it_is_worth(error: Any, decisions: Any):
    for tries, expected in enumerate(decisions, start=1):
        assert isinstance(decide(error, tries), expected)


def test_the_provider_is_obeyed():
    short = decide(Throttled("throttled", "m", retry_after_s=7.0), 1, 0.0, 0.0)
    assert short == RetryAt(7.0)


def test_a_long_wait_goes_back_to_the_queue_however_often():
    long = Throttled("throttled", "m", retry_after_s=45.0)
    assert decide(long, 9) == RetryAt(45.0, in_process=False)


def test_an_error_that_has_lasted_too_long_is_left():
    assert isinstance(decide(Unavailable("http_500", "m"), 1, 10_000.0), TryElsewhere)


@given(st.integers(1, MAX_RETRIES), st.floats(0, 1))
def test_the_delay_is_bounded_and_drawn_from_the_whole_range(tries: int, jitter: float):
    decision = decide(Unavailable("http_500", "m"), tries, 0.0, jitter)
    assert isinstance(decision, RetryAt)
    assert decision.delay_s == pytest.approx(jitter * min(LONGEST_DELAY_S, 0.5 * 2**tries))


def _tries_of(error: Any):
    calls, waits = [], []

    def call():
        calls.append(1)
        raise error

    retrying = tenacity.Retrying(
        retry=retry_if_worth_it(),
        wait=wait_as_decided(lambda: 0.5),
        stop=stop_as_decided(),
        sleep=waits.append,
        reraise=True,
    )
    with pytest.raises(type(error)):
        retrying(call)
    return len(calls), waits


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (Unavailable("http_500", "m"), 5),
        (MaybeBilled("timeout", "m"), 2),
        (AccountRefused("invalid_key", "m"), 1),
        (Throttled("throttled", "m", retry_after_s=45.0), 1),
        (KeyError("not ours"), 1),
    ],
)
def test_tenacity_runs_by_the_policy(error: Any, calls: int):
    count, waits = _tries_of(error)
    assert count == calls
    assert len(waits) == calls - 1
    if isinstance(error, ProviderError) and waits:
        assert waits[0] == pytest.approx(0.5)
