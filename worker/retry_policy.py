"""What to do about a provider's error: try again here, try elsewhere, or stop; pure.

Only for errors: sick providers are passed over (health), weak answers climb (escalation). `decide`
is the whole policy; the objects below ask it for tenacity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tenacity import RetryCallState
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    ProviderError,
    RequestRefused,
    Throttled,
)

MAX_RETRIES: Final = 4
MAX_PAID_RETRIES: Final = 1
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 8.0
LONGEST_IN_PROCESS_S: Final = 30.0
"""A longer wait goes back to the queue: a worker's place is worth more than that."""
LONGEST_ELAPSED_S: Final = 900.0
# Another model may take what this one refuses: too long, unknown field, unknown or closed model.
_MODEL_LEVEL: Final = frozenset({400, 403, 404, 413, 422, 501})
_HOPELESS_HERE: Final = frozenset({"cannot_encode", "unknown_model", "bad_request_data"})


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Ask the same model again after `delay_s`; not `in_process`: hand the job back meanwhile."""

    delay_s: float
    in_process: bool = True


@dataclass(frozen=True, slots=True)
class TryElsewhere:
    """Another model may do; this one will not, or not soon."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """No model will do."""

    reason: str


Decision = RetryAt | TryElsewhere | Stop


def decide(
    error: ProviderError, tries_here: int, elapsed_s: float = 0.0, jitter: float = 0.5
) -> Decision:
    """What to do after the `tries_here`-th call of this model (1 after the first) failed.

    elapsed_s: since the first of them failed. jitter: a random number in 0..1; the delay is drawn
    from the whole range up to its exponential bound, so that many waiting calls do not come at
    once.
    """
    match error:
        case RequestRefused(status=status):
            return TryElsewhere(error.kind) if status in _MODEL_LEVEL else Stop(error.kind)
        case AccountRefused():
            return TryElsewhere(error.kind)
        case NotSent(kind=kind) if kind in _HOPELESS_HERE:
            return TryElsewhere(error.kind)
    retries = MAX_PAID_RETRIES if _costs_again(error) else MAX_RETRIES
    wait = error.retry_after_s
    # A long wait as told leaves the process, so it is no retry of this round and always allowed.
    if isinstance(error, Throttled) and wait is not None and wait > LONGEST_IN_PROCESS_S:
        return RetryAt(wait, in_process=False)
    if tries_here > retries or elapsed_s > LONGEST_ELAPSED_S:
        return TryElsewhere(f"{error.kind} after {tries_here} tries")
    delay = _backoff_s(tries_here, jitter) if wait is None else wait + jitter * FIRST_DELAY_S
    return RetryAt(delay, in_process=(wait or 0.0) <= LONGEST_IN_PROCESS_S)


def _costs_again(error: ProviderError) -> bool:
    """Whether the failed call was, or may have been, charged."""
    return isinstance(error, MaybeBilled) or error.billed is not None


def _backoff_s(tries_here: int, jitter: float) -> float:
    bound = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries_here, 10))
    return jitter * bound


class retry_if_worth_it(retry_base):  # noqa: N801 - tenacity's spelling
    """tenacity's *which*: errors whose decision is to try again here, in this process."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether the policy retries the state's error."""
        decision = decision_of(retry_state)
        return isinstance(decision, RetryAt) and decision.in_process


class wait_as_decided(wait_base):  # noqa: N801 - tenacity's spelling
    """tenacity's *when*. jitter: gives a number in 0..1 for each wait."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait before the next try."""
        decision = decision_of(retry_state, self._jitter())
        return decision.delay_s if isinstance(decision, RetryAt) else 0.0


class stop_as_decided(stop_base):  # noqa: N801 - tenacity's spelling
    """tenacity's *until*: what the policy would not try again here."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether this was the last try here."""
        decision = decision_of(retry_state)
        return not (isinstance(decision, RetryAt) and decision.in_process)


def decision_of(retry_state: RetryCallState, jitter: float = 0.5) -> Decision | None:
    """The policy's word on a state of tenacity; None where no provider's error was raised."""
    outcome = retry_state.outcome
    error = outcome.exception() if outcome is not None and outcome.failed else None
    if not isinstance(error, ProviderError):
        return None
    return decide(error, retry_state.attempt_number, retry_state.seconds_since_start or 0.0, jitter)
