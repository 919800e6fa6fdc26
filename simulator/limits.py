"""Rate limits per API key, kept like a vendor's: token buckets, and truth in the headers.

Tokens are taken at admission (input and max_tokens) and corrected when the call has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from simulator.exchange import Ask, Problem, Quota
from simulator.faults import with_wait
from simulator.scenario import Limit

_USUAL_OUTPUT = 256  # counted for a request that names no max_tokens
_CONCURRENCY_WAIT_S = 1.0


class Bucket:
    """A token bucket of `burst_s` seconds' worth of a rate per minute."""

    def __init__(self, per_minute: float, burst_s: float, now: float) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._capacity = max(1.0, self._rate * burst_s)
        self.level = self._capacity
        self._at = now

    def refill(self, now: float) -> None:
        """Let in what has dripped since the last time."""
        self.level = min(self._capacity, self.level + (now - self._at) * self._rate)
        self._at = now

    def wait_s(self, amount: float) -> float:
        """Seconds until so much can be taken; more than a full bucket waits for a full one."""
        return max(0.0, (min(amount, self._capacity) - self.level) / self._rate)

    def full_in_s(self) -> float:
        """Seconds until the bucket is full again."""
        return (self._capacity - self.level) / self._rate

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self.level = min(self._capacity, self.level + amount)


class _Meter:
    """What one key has used of one limit."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.requests = Bucket(limit.rpm, limit.burst_s, now) if limit.rpm else None
        self.tokens = Bucket(limit.tpm, limit.burst_s, now) if limit.tpm else None
        self.running = 0

    def refusal(self, model: str, tokens: int) -> tuple[str, float] | None:
        """Message and wait of the limit that is in the way."""
        most = self.limit.concurrency
        if most is not None and self.running >= most:
            return f"Too many concurrent requests for {model}: limit {most}", _CONCURRENCY_WAIT_S
        for bucket, name, amount in (
            (self.requests, "requests per min (RPM)", 1),
            (self.tokens, "tokens per min (TPM)", tokens),
        ):
            if bucket is not None and (wait := bucket.wait_s(amount)) > 0:
                limit, used = int(bucket.per_minute), ceil(bucket.per_minute - bucket.level)
                figures = f"Limit {limit}, Used {max(0, used)}, Requested {amount}"
                return f"Rate limit reached for {model} on {name}: {figures}", wait
        return None

    def quota(self) -> Quota:
        """What the headers say now."""
        requests, tokens = self.requests, self.tokens
        return Quota(
            limit_requests=int(requests.per_minute) if requests else None,
            remaining_requests=int(max(0.0, requests.level)) if requests else 0,
            reset_requests_s=requests.full_in_s() if requests else 0.0,
            limit_tokens=int(tokens.per_minute) if tokens else None,
            remaining_tokens=int(max(0.0, tokens.level)) if tokens else 0,
            reset_tokens_s=tokens.full_in_s() if tokens else 0.0,
        )


@dataclass(slots=True)
class Admission:
    """A call that was let in, or the problem that keeps it out. `leave` must follow."""

    quota: Quota | None = None
    problem: Problem | None = None
    meter: _Meter | None = None
    tokens: int = 0

    def leave(self, used_tokens: int | None) -> None:
        """The call has ended with this usage; None: refused before any work."""
        if self.meter is None:
            return
        self.meter.running -= 1
        if self.meter.tokens is not None:
            self.meter.tokens.give_back(self.tokens - (used_tokens or 0))


FREE = Admission()


class Limits:
    """All meters of a scenario: one for each limit and key."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._meters: dict[tuple[int, str], _Meter] = {}

    def admit(self, ask: Ask, now: float) -> Admission:
        """Take a call's share of the first limit that is about it. `now` is monotonic seconds."""
        for index, limit in enumerate(self._limits):
            if limit.match.accepts(ask):
                return self._take(self._meter(index, limit, ask.key, now), ask, now)
        return FREE

    def _meter(self, index: int, limit: Limit, key: str, now: float) -> _Meter:
        meter = self._meters.get((index, key))
        if meter is None:
            meter = self._meters[index, key] = _Meter(limit, now)
        return meter

    def _take(self, meter: _Meter, ask: Ask, now: float) -> Admission:
        for bucket in (meter.requests, meter.tokens):
            if bucket is not None:
                bucket.refill(now)
        tokens = ask.input_tokens + (ask.max_tokens or _USUAL_OUTPUT) * ask.choices
        refusal = meter.refusal(ask.model, tokens)
        if refusal is not None:
            message, wait = refusal
            problem = with_wait(Problem(429, "rate_limited", message), wait, None, ask.wire)
            return Admission(quota=meter.quota(), problem=problem)
        if meter.requests is not None:
            meter.requests.level -= 1
        if meter.tokens is not None:
            meter.tokens.level -= tokens
        meter.running += 1
        return Admission(quota=meter.quota(), meter=meter, tokens=tokens)
