from typing import Any

import pytest

from shared.domain.inference import Usage
from shared.provider_health import KeyHealth, KeyState
from shared.settings import Settings
from worker.providers.breaker import (
    FAILURES_TO_OPEN,
    PROBE_LEASE_MS,
    Failed,
    ProbeDropped,
    ProbeEnded,
    ProbeRenewed,
    ProbeStarted,
    Succeeded,
    failure_of,
    is_probe_free,
    step,
)
from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    RequestRefused,
    Throttled,
    Unavailable,
)

SICK = failure_of(Unavailable("http_500", "no"))
REFUSED = failure_of(AccountRefused("invalid_key", "no"))
HEALTHY = KeyHealth()


def opened(now: int = 0):
    health = HEALTHY
    for _ in range(FAILURES_TO_OPEN):
        health = step(health, SICK, now)
    return health


@pytest.mark.parametrize(
    ("error", "sick"),
    [(NotSent, True), (Unavailable, True), (MaybeBilled, True),
     (Throttled, False), (RequestRefused, False), (AccountRefused, False)],
)  # fmt: skip
def test_only_what_tells_of_sickness_counts(error: Any, sick: bool):
    assert failure_of(error("k", "m")).sick is sick


def test_a_failed_answer_that_was_charged_comes_from_a_living_provider() -> None:
    assert not failure_of(Unavailable("answer_failed", "OTHER", billed=Usage(9))).sick


def test_it_opens_at_the_fifth_failure_in_a_row_for_two_seconds():
    health = HEALTHY
    for _ in range(FAILURES_TO_OPEN - 1):
        health = step(health, SICK, 0)
    assert health.state is KeyState.CLOSED
    health = step(health, SICK, 0)
    assert (health.state, health.due_ms) == (KeyState.OPEN, 2000)


def test_a_success_between_starts_the_count_anew():
    health = step(step(HEALTHY, SICK, 0), Succeeded(), 0)
    assert health == HEALTHY


def test_failures_of_calls_from_before_do_not_prolong_it():
    health = opened()
    assert step(health, SICK, 1) == health
    assert step(health, Succeeded(), 1) == health


def test_the_wait_doubles_up_to_twenty_seconds():
    health, now, waits = opened(), 0, []
    for i in range(7):
        waits.append(health.due_ms - now)
        now = health.due_ms
        health = step(health, ProbeStarted(str(i)), now)
        health = step(health, ProbeEnded(str(i), SICK), now)
    assert waits == [2000, 4000, 8000, 16000, 20000, 20000, 20000]


def test_one_probe_at_a_time_and_only_when_due():
    health = opened()
    assert step(health, ProbeStarted("a"), 1999) == health
    probing = step(health, ProbeStarted("a"), 2000)
    assert probing.probe == "a"
    assert step(probing, ProbeStarted("b"), 2001) == probing
    assert not is_probe_free(probing, 2001)


def test_a_probe_whose_worker_died_is_replaced_after_its_lease():
    probing = step(opened(), ProbeStarted("a"), 2000)
    later = 2000 + PROBE_LEASE_MS
    assert step(probing, ProbeStarted("b"), later).probe == "b"
    renewed = step(probing, ProbeRenewed("a"), later - 1)
    assert step(renewed, ProbeStarted("b"), later) == renewed


def test_a_good_probe_closes_and_a_dropped_one_only_makes_room():
    probing = step(opened(), ProbeStarted("a"), 2000)
    assert step(probing, ProbeEnded("a", Succeeded()), 2100) == HEALTHY
    dropped = step(probing, ProbeDropped("a"), 2100)
    assert (dropped.state, dropped.probe) == (KeyState.OPEN, "")


def test_the_result_of_a_probe_that_was_replaced_counts_for_nothing():
    probing = step(opened(), ProbeStarted("b"), 2000)
    assert step(probing, ProbeEnded("a", Succeeded()), 2100) == probing


def test_a_job_that_waits_as_long_as_usual_meets_several_probes():
    health = opened()
    for _ in range(20):
        health = step(health, ProbeStarted("a"), health.due_ms)
        now = health.due_ms
        health = step(health, ProbeEnded("a", SICK), now)
    assert (health.due_ms - now) * 3 <= Settings(_env_file=None).patience_s * 1000


def test_a_throttled_or_unwilling_provider_is_alive():
    probing = step(opened(), ProbeStarted("a"), 2000)
    throttled = failure_of(Throttled("throttled", "m", retry_after_s=3.0))
    after = step(probing, ProbeEnded("a", throttled), 2100)
    assert (after.state, after.cooldown_ms) == (KeyState.CLOSED, 5100)


def test_a_refused_account_pauses_for_a_minute_and_a_daily_quota_until_its_reset():
    assert step(HEALTHY, REFUSED, 0).due_ms == 60_000
    daily = failure_of(AccountRefused("daily_quota", "m", retry_after_s=7200.0))
    paused = step(HEALTHY, daily, 0)
    assert (paused.state, paused.due_ms) == (KeyState.PAUSED, 7_200_000)
    assert step(paused, REFUSED, 5) == paused


def test_a_cool_down_is_only_ever_prolonged():
    long = step(HEALTHY, Failed(sick=False, refused=False, wait_ms=10_000, reason="long"), 0)
    assert step(long, Failed(sick=False, refused=False, wait_ms=1_000, reason="short"), 0) == long
    assert step(long, Succeeded(), 5_000) == long
    assert step(long, Succeeded(), 10_000) == HEALTHY


def test_the_stored_form_is_read_back():
    for health in (opened(), step(opened(), ProbeStarted("a"), 2000), HEALTHY):
        assert KeyHealth.from_json(health.to_json()) == health
    for broken in (b"", None, b"x", b"{}", b'{"state":"odd"}', b"[]"):
        assert KeyHealth.from_json(broken) == HEALTHY
