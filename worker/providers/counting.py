"""Which way a provider counts tokens, by what its answers say remains; pure.

Some count what a call may take (its input and max_tokens) and give nothing back at its end. Then of
what remains as much is gone as calls asked for; elsewhere only what they are using and have used.
"""

from dataclasses import dataclass
from typing import Final

_LEAST_SHARE: Final = 0.02
"""Of a minute's limit: the unused tokens that it takes to tell one way from the other."""
_HALFWAY: Final = 0.5
_NEARLY_GONE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Departed:
    """What the whole cluster had asked for when a call left, in tokens, and what of it was spared
    by then: asked for by calls that ended without using it.
    """

    asked: float
    spared: float


@dataclass(frozen=True, slots=True)
class _Sample:
    at: Departed
    remaining: int


@dataclass(slots=True)
class Counting:
    """What was seen of one limit: compared are two answers between which what remains fell."""

    limit: int = 0
    first: _Sample | None = None
    last: _Sample | None = None

    def gives_nothing_back(self, limit: int, remaining: int, at: Departed) -> bool:
        """Whether one more answer shows it. at: when its call left.

        What was given back meanwhile by time, or taken by others with the same key, is not known:
        the first hides it for a while, the second makes us careful.
        """
        sample = _Sample(at, remaining)
        first, last = self.first, self.last
        if first is None or last is None or limit != self.limit or remaining > last.remaining:
            self.limit, self.first, self.last = limit, sample, sample
            return False
        if at.asked <= last.at.asked:
            return False
        self.last = sample
        spared = at.spared - first.at.spared
        if spared < _LEAST_SHARE * limit:
            return False
        asked = at.asked - first.at.asked
        return first.remaining - remaining > asked - spared + _HALFWAY * spared

    @staticmethod
    def is_still_so(limit: int, remaining: int) -> bool:
        """Of a key that is paced by what calls ask for: whether hardly anything remains of its
        minute. Were the unused given back, there would be more.
        """
        return remaining < _NEARLY_GONE * limit
