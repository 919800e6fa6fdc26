"""The places for calls: how many are in flight, and how many jobs that takes.

A slot is held by a call and by nothing else. Before its call a job waits for commits and the
ledger; so that these waits leave no slot empty, more jobs are begun than there are slots: as many
more as the waits are long beside the calls (Little's law, on what this process measured last).
With calls of seconds that is hardly one in a hundred, with calls of milliseconds up to twice as
many again. After its call a job counts no more: while what it brought is written, the next one is
made ready, so that calls that all end at once leave their slots empty for one commit, not for two.
At no time more than three jobs a slot are begun, for what a begun job has reserved is charged when
its process dies.

This throttles concurrency; `worker.providers.throttle` a provider's rate, `worker.metering` the
money. Lives in one event loop; `to_claim` may be read from any thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_MOST_BEGUN: Final = 3
"""Begun jobs a slot: 200 ms of call beside 400 ms of waits, as on a machine that is overloaded."""
_SAFETY: Final = 1.25
"""The waits that are not measured (the ledger's answer, the loop's turn), and their spread."""


class CallSlots:
    """One a process. `begin` and `end` bracket a job, `enter` and `leave` its calls, `write` and
    `written` what it waits for after them.
    """

    def __init__(self, limit: int) -> None:
        """limit: calls in flight at once."""
        self._limit = limit
        self._free = limit
        self._calls: deque[asyncio.Future[None]] = deque()
        self._size = limit
        self._begun = 0
        self._writing = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._when_claimable: Callable[[], None] = _nothing
        self._called_s = 0.0
        self._waited_s = 0.0
        # What the last few calls of each slot took counts; what was before fades.
        self._forgetting = 1 - 1 / (2 * limit + 20)

    @property
    def to_begin(self) -> int:
        """How many jobs may be before their calls or in them at once."""
        return self._size

    @property
    def to_claim(self) -> int:
        """How many jobs to hold: all that may be begun now, and an eighth more, so that no place is
        empty while the next chunk is being claimed.
        """
        begun = min(self._size + self._writing, self._limit * _MOST_BEGUN)
        return begun + self._size // 8

    def when_claimable(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in the loop, whenever `to_claim` may have risen."""
        self._when_claimable = tell

    async def begin(self) -> None:
        """Wait until one more job may be under way."""
        if not self._queue and self._has_room():
            self._begun += 1
            return
        await _turn_in(self._queue, self.end)

    def end(self) -> None:
        """A job that was begun is over."""
        self._begun -= 1
        self._let_begin()

    async def enter(self) -> None:
        """Wait for a slot."""
        if self._free:
            self._free -= 1
            return
        await _turn_in(self._calls, self._free_slot)

    def leave(self, called_s: float | None) -> None:
        """Give the slot back after a call that took so long; None for one that was not answered.

        From failures nothing is learned: they come fast, and more jobs begun because of them would
        be more calls to a provider that is down before its circuit opens.
        """
        self._free_slot()
        self._waited_s *= self._forgetting
        if called_s is not None:
            self._called_s = self._called_s * self._forgetting + called_s
            self._fit()

    def waited(self, seconds: float) -> None:
        """A job waited so long, before its call, for something that is not its slot."""
        self._waited_s += seconds

    def write(self) -> None:
        """A job's call is over; what it brought is being written. The job goes on at `written`."""
        self._writing += 1
        self._let_begin()
        self._when_claimable()

    def written(self) -> None:
        """It is durable."""
        self._writing -= 1

    def _free_slot(self) -> None:
        """To who waits longest; a semaphore would look through all whose turn has come."""
        while self._calls:
            turn = self._calls.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _fit(self) -> None:
        share = 1 + _SAFETY * self._waited_s / self._called_s if self._called_s else 1.0
        self._size = round(self._limit * min(share, _MOST_BEGUN))
        self._let_begin()

    def _has_room(self) -> bool:
        before_or_in_call = self._begun - self._writing
        return before_or_in_call < self._size and self._begun < self._limit * _MOST_BEGUN

    def _let_begin(self) -> None:
        while self._queue and self._has_room():
            turn = self._queue.popleft()
            if not turn.done():
                self._begun += 1
                turn.set_result(None)


async def _turn_in(queue: deque[asyncio.Future[None]], pass_on: Callable[[], None]) -> None:
    """Wait in line; who leaves it when its turn has come passes that on."""
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    queue.append(turn)
    try:
        await turn
    except asyncio.CancelledError:
        if not turn.cancelled():  # it was its turn, but the cancellation came first
            pass_on()
        raise


def _nothing() -> None:
    """Nobody wants to be told."""
