"""How much a provider lets in: buckets, and windows of the clock, of a first call, or sliding."""

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Gauge:
    """An allowance. span_s: how much of a minute may go at once; way: bucket, clock (windows of
    the clock), first (windows that begin with a call), sliding.
    """

    per_minute: float
    span_s: float
    way: str
    level: float = math.nan
    at: float = 0.0
    past: "deque[tuple[float, float]]" = field(default_factory=deque)

    @property
    def most(self) -> float:
        """All of it."""
        return self.per_minute * self.span_s / 60

    def look(self, now: float) -> float:
        """What is left."""
        if math.isnan(self.level):
            self.level, self.at = self.most, now
        match self.way:
            case "bucket":
                self.level += (now - self.at) * self.per_minute / 60
                self.at = now
            case "clock":
                if now // self.span_s != self.at // self.span_s:
                    self.level, self.at = self.most, now
            case "first":
                if now - self.at >= self.span_s:
                    self.level, self.at = self.most, now
            case _:
                while self.past and self.past[0][0] <= now - self.span_s:
                    self.level += self.past.popleft()[1]
        self.level = min(self.level, self.most)
        return self.level

    def take(self, now: float, amount: float) -> None:
        """Some less; negative gives back."""
        self.level -= amount
        if self.way == "sliding":
            self.past.append((now, amount))

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until so much is left."""
        missing = amount - self.look(now)
        if missing <= 0:
            return 0.0
        match self.way:
            case "bucket":
                return missing * 60 / self.per_minute
            case "clock":
                return self.span_s - now % self.span_s
            case "first":
                return self.at + self.span_s - now
        for moment, taken in self.past:
            missing -= taken
            if missing <= 0:
                return moment + self.span_s - now
        return self.span_s

    def full_in_s(self, now: float) -> float:
        """Seconds until all is there again."""
        if self.way == "bucket":
            return (self.most - self.level) * 60 / self.per_minute
        if self.way == "sliding":
            return self.past[-1][0] + self.span_s - now if self.past else 0.0
        return self.wait_s(now, math.inf)
