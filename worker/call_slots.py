"""The places for calls: how many are in flight, and how many jobs that takes.

A slot is held by a call and by nothing else. Before and after its call a job waits for commits and
the ledger; so that these waits leave no slot empty, more jobs are begun than there are slots: as
many more as the waits are long beside the calls (Little's law, on what this process measured last).
With calls of seconds that is hardly one in a hundred, with calls of milliseconds up to twice as
many again. It is not more, because what a begun job has reserved is charged when its process dies.

This throttles concurrency; `worker.providers.throttle` a provider's rate, `worker.metering` the
money. Lives in one event loop; `to_claim` may be read from any thread.
"""

import asyncio
from typing import Final

_MOST_BEGUN: Final = 3
"""Begun jobs a slot: 200 ms of call beside 400 ms of waits, as on a machine that is overloaded."""
_SAFETY: Final = 1.25
"""The waits that are not measured (the ledger's answer, the loop's turn), and their spread."""


class CallSlots:
    """One a process. `begin` and `end` bracket a job, `enter` and `leave` its calls."""

    def __init__(self, limit: int) -> None:
        """limit: calls in flight at once."""
        self._limit = limit
        self._calls = asyncio.Semaphore(limit)
        self._begun = asyncio.Semaphore(limit)
        self._size = limit
        self._surplus = 0
        self._called_s = 0.0
        self._waited_s = 0.0
        # What the last few calls of each slot took counts; what was before fades.
        self._forgetting = 1 - 1 / (2 * limit + 20)

    @property
    def to_begin(self) -> int:
        """How many jobs may be under way at once."""
        return self._size

    @property
    def to_claim(self) -> int:
        """How many jobs to hold: an eighth more than may begin, so that no place is empty while the
        next chunk is being claimed.
        """
        return self._size + self._size // 8

    async def begin(self) -> None:
        """Wait until one more job may be under way."""
        await self._begun.acquire()

    def end(self) -> None:
        """A job that was begun is over."""
        if self._surplus:
            self._surplus -= 1
        else:
            self._begun.release()

    async def enter(self) -> None:
        """Wait for a slot."""
        await self._calls.acquire()

    def leave(self, called_s: float | None) -> None:
        """Give the slot back after a call that took so long; None for one that was not answered.

        From failures nothing is learned: they come fast, and more jobs begun because of them would
        be more calls to a provider that is down before its circuit opens.
        """
        self._calls.release()
        self._waited_s *= self._forgetting
        if called_s is not None:
            self._called_s = self._called_s * self._forgetting + called_s
            self._fit()

    def waited(self, seconds: float) -> None:
        """A job waited so long for something that is not its call."""
        self._waited_s += seconds

    def _fit(self) -> None:
        share = 1 + _SAFETY * self._waited_s / self._called_s if self._called_s else 1.0
        size = round(self._limit * min(share, _MOST_BEGUN))
        while self._size < size:
            self._size += 1
            self.end()
        self._surplus += self._size - size
        self._size = size
