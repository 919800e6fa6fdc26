"""Rate limits per API key, kept like a vendor's, and truth in the headers.

Tokens are counted as the limit says: `corrected` takes input and max_tokens when the call comes and
gives back what it did not use when it has ended, `asked` gives nothing back, `used` takes what was
used when the call has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from simulator.exchange import Ask, Problem, Quota
from simulator.faults import with_wait
from simulator.gauges import gauge
from simulator.scenario import Limit

_USUAL_OUTPUT = 256  # counted for a request that names no max_tokens
_CONCURRENCY_WAIT_S = 1.0


class _Meter:
    """What one key has used of one limit."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.requests = gauge(limit.window, limit.rpm, limit.burst_s, now) if limit.rpm else None
        self.tokens = gauge(limit.window, limit.tpm, limit.burst_s, now) if limit.tpm else None
        self.running = 0

    def refusal(self, model: str, tokens: int) -> tuple[str, float] | None:
        """Message and wait of the limit that is in the way."""
        most = self.limit.concurrency
        if most is not None and self.running >= most:
            return f"Too many concurrent requests for {model}: limit {most}", _CONCURRENCY_WAIT_S
        for one, name, amount in (
            (self.requests, "requests per min (RPM)", 1),
            (self.tokens, "tokens per min (TPM)", tokens),
        ):
            if one is not None and (wait := one.wait_s(amount)) > 0:
                limit, used = int(one.per_minute), ceil(one.per_minute - one.level)
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
        is_kept = self.meter.limit.counts == "asked" and used_tokens is not None
        if self.meter.tokens is not None and not is_kept:
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
        for one in (meter.requests, meter.tokens):
            if one is not None:
                one.refill(now)
        tokens = ask.input_tokens + (ask.max_tokens or _USUAL_OUTPUT) * ask.choices
        if meter.limit.counts == "used":
            tokens = 0
        refusal = meter.refusal(ask.model, tokens)
        if refusal is not None:
            message, wait = refusal
            told = Problem(429, "rate_limited", message)
            problem = with_wait(told, wait, meter.limit.dialect, ask.wire)
            return Admission(quota=self._told(meter), problem=problem)
        if meter.requests is not None:
            meter.requests.take(1)
        if meter.tokens is not None:
            meter.tokens.take(tokens)
        meter.running += 1
        return Admission(quota=self._told(meter), meter=meter, tokens=tokens)

    @staticmethod
    def _told(meter: _Meter) -> Quota | None:
        return None if meter.limit.is_silent else meter.quota()
