"""How vendors measure a rate per minute: a bucket, the minute of the clock, the minute just past.

All take `now` as monotonic seconds that never go back.
"""

from collections import deque
from typing import Final, Literal, Protocol

Window = Literal["bucket", "fixed", "sliding"]
WINDOWS: Final = ("bucket", "fixed", "sliding")

_MINUTE_S: Final = 60.0


class Gauge(Protocol):
    """What one key has left of one limit."""

    per_minute: float
    level: float

    def refill(self, now: float) -> None:
        """Let in what has come back since the last time."""

    def wait_s(self, amount: float) -> float:
        """Seconds until so much can be taken; more than there ever is waits for all of it."""

    def full_in_s(self) -> float:
        """Seconds until everything is there again."""

    def take(self, amount: float) -> None:
        """Use so much now."""

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""


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

    def take(self, amount: float) -> None:
        """Use so much now."""
        self.level -= amount

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self.level = min(self._capacity, self.level + amount)


class FixedWindow:
    """All at once at the beginning of each minute, and no more until the next."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = self.level = per_minute
        self._now = now
        self._ends = (now // _MINUTE_S + 1) * _MINUTE_S

    def refill(self, now: float) -> None:
        """Begin a new minute where the old one is over."""
        self._now = now
        if now >= self._ends:
            self._ends = (now // _MINUTE_S + 1) * _MINUTE_S
            self.level = self.per_minute

    def wait_s(self, amount: float) -> float:
        """Nothing, or the rest of the minute."""
        return 0.0 if self.level >= min(amount, self.per_minute) else self.full_in_s()

    def full_in_s(self) -> float:
        """The rest of the minute."""
        return self._ends - self._now

    def take(self, amount: float) -> None:
        """Use so much of this minute."""
        self.level -= amount

    def give_back(self, amount: float) -> None:
        """Return what was taken, to the minute that runs now."""
        self.level = min(self.per_minute, self.level + amount)


class SlidingWindow:
    """What was used comes back a minute after it was used."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = self.level = per_minute
        self._now = now
        self._used: deque[tuple[float, float]] = deque()

    def refill(self, now: float) -> None:
        """Forget what is older than a minute."""
        self._now = now
        while self._used and self._used[0][0] <= now - _MINUTE_S:
            self.level += self._used.popleft()[1]

    def wait_s(self, amount: float) -> float:
        """Seconds until enough of what was used is a minute old."""
        missing = min(amount, self.per_minute) - self.level
        for at, used in self._used:
            if missing <= 0:
                break
            missing -= used
            wait = at + _MINUTE_S - self._now
            if missing <= 0:
                return max(0.001, wait)
        return 0.0 if missing <= 0 else _MINUTE_S

    def full_in_s(self) -> float:
        """Seconds until the last call is a minute old."""
        return max(0.0, self._used[-1][0] + _MINUTE_S - self._now) if self._used else 0.0

    def take(self, amount: float) -> None:
        """Use so much now."""
        self.level -= amount
        self._used.append((self._now, amount))

    def give_back(self, amount: float) -> None:
        """Return what was taken: less was used now, so less comes back in a minute."""
        self.take(-amount)


def gauge(window: Window, per_minute: float, burst_s: float, now: float) -> Gauge:
    """The gauge of this kind; burst_s: of a bucket."""
    match window:
        case "bucket":
            return Bucket(per_minute, burst_s, now)
        case "fixed":
            return FixedWindow(per_minute, now)
        case "sliding":
            return SlidingWindow(per_minute, now)
