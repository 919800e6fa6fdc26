"""The circuit of one provider key as a pure state machine.

    closed --5 failures in a row--> open --probe ok--> closed
    closed, open --account refused--> paused --probe ok--> closed
    open --probe failed--> open (wait doubled: 2, 4, .. 20 s)
    paused --probe refused--> paused (60 s, or until a quota's reset)

A cool-down lies across all states: it only says when the provider may be asked again. Times are
milliseconds on one clock; a step returns the same value where nothing changes.
"""

from dataclasses import dataclass, replace
from typing import Final

from shared.provider_health import WELL, KeyHealth, KeyState
from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    ProviderError,
    Unavailable,
)

FAILURES_TO_OPEN: Final = 5
FIRST_WAIT_MS: Final = 2_000
LONGEST_WAIT_MS: Final = 20_000
"""A third of the usual patience of a waiting job: one that was submitted late in an outage still
meets a provider that recovered, instead of failing while nobody had looked."""
PAUSE_MS: Final = 60_000
PROBE_LEASE_MS: Final = 15_000
LONGEST_COOLDOWN_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A call was answered."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A call failed in a way that says something about the key."""

    sick: bool
    refused: bool
    wait_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeStarted:
    """A worker asks for the one probe; taken only if it is due and nobody holds it."""

    token: str


@dataclass(frozen=True, slots=True)
class ProbeRenewed:
    """The probe is still under way."""

    token: str


@dataclass(frozen=True, slots=True)
class ProbeDropped:
    """The probe ended without telling anything (abandoned, cancelled)."""

    token: str


@dataclass(frozen=True, slots=True)
class ProbeEnded:
    """The probe's own result."""

    token: str
    outcome: Succeeded | Failed


Event = Succeeded | Failed | ProbeStarted | ProbeRenewed | ProbeDropped | ProbeEnded


def failure_of(error: ProviderError) -> Failed:
    """What an error says about the key it happened with. A throttled key, one whose request was
    refused, and one that charged for a failed answer are in good health.
    """
    wait_ms = None if error.retry_after_s is None else int(error.retry_after_s * 1000)
    sick = isinstance(error, NotSent | Unavailable | MaybeBilled) and error.billed is None
    refused = isinstance(error, AccountRefused)
    return Failed(sick, refused, wait_ms, f"{error.kind}: {error.message}"[:120])


def step(health: KeyHealth, event: Event, now_ms: int) -> KeyHealth:  # noqa: PLR0911 - a case each
    """The health after an event."""
    match event:
        case Succeeded():
            return _after_success(health, now_ms)
        case Failed():
            return _after_failure(health, event, now_ms)
        case ProbeStarted(token):
            return _start_probe(health, token, now_ms)
        case ProbeRenewed(token):
            held = health.probe == token
            return replace(health, probe_ms=now_ms + PROBE_LEASE_MS) if held else health
        case ProbeDropped(token):
            return replace(health, probe="", probe_ms=0) if health.probe == token else health
        case ProbeEnded(token, outcome):
            if health.probe != token:
                return health
            return _after_probe(replace(health, probe="", probe_ms=0), outcome, now_ms)


def is_probe_free(health: KeyHealth, now_ms: int) -> bool:
    """Whether an open or paused key may be probed now."""
    free = not health.probe or health.probe_ms <= now_ms
    return free and now_ms >= max(health.due_ms, health.cooldown_ms)


def _after_success(health: KeyHealth, now_ms: int) -> KeyHealth:
    if health.state is not KeyState.CLOSED:
        return health  # a call from before; only the probe closes
    if health.cooldown_ms > now_ms:
        return replace(health, failures=0) if health.failures else health
    return WELL if health.failures or health.cooldown_ms else health


def _after_failure(health: KeyHealth, event: Failed, now_ms: int) -> KeyHealth:
    if event.refused:
        if health.state is KeyState.PAUSED:
            return health
        return _paused(health, event, now_ms)
    cooled = _cooled(health, event, now_ms)
    if not event.sick or health.state is not KeyState.CLOSED:
        return cooled
    failures = health.failures + 1
    if failures < FAILURES_TO_OPEN:
        return replace(cooled, failures=failures)
    return _opened(replace(cooled, failures=failures), event, now_ms)


def _after_probe(health: KeyHealth, outcome: Succeeded | Failed, now_ms: int) -> KeyHealth:
    if isinstance(outcome, Succeeded):
        return WELL
    if outcome.refused:
        return _paused(health, outcome, now_ms)
    if not outcome.sick:  # it answered: throttled or unwilling, but alive
        return _cooled(WELL, outcome, now_ms)
    if health.state is KeyState.PAUSED:
        return replace(health, due_ms=now_ms + PAUSE_MS)
    return _opened(_cooled(health, outcome, now_ms), outcome, now_ms)


def _start_probe(health: KeyHealth, token: str, now_ms: int) -> KeyHealth:
    if health.state is KeyState.CLOSED or not is_probe_free(health, now_ms):
        return health
    return replace(health, probe=token, probe_ms=now_ms + PROBE_LEASE_MS)


def _opened(health: KeyHealth, event: Failed, now_ms: int) -> KeyHealth:
    wait = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** min(health.trips, 10))
    return replace(
        health,
        state=KeyState.OPEN,
        trips=health.trips + 1,
        due_ms=now_ms + wait,
        reason=event.reason,
    )


def _paused(health: KeyHealth, event: Failed, now_ms: int) -> KeyHealth:
    wait = PAUSE_MS if event.wait_ms is None else max(PAUSE_MS, event.wait_ms)
    return replace(
        health,
        state=KeyState.PAUSED,
        due_ms=now_ms + min(wait, LONGEST_COOLDOWN_MS),
        reason=event.reason,
    )


def _cooled(health: KeyHealth, event: Failed, now_ms: int) -> KeyHealth:
    if not event.wait_ms or event.wait_ms < 0:
        return health
    until = now_ms + min(event.wait_ms, LONGEST_COOLDOWN_MS)
    if until <= health.cooldown_ms:
        return health
    reason = event.reason if health.state is KeyState.CLOSED else health.reason
    return replace(health, cooldown_ms=until, reason=reason)
