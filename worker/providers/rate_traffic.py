"""A process's talk with Redis about rates, in one exchange at a time for all calls that wait.

Who asks for room or wants to leave is answered at once. What calls give back at their end travels
with the next question, or soon after; at once where somebody may wait for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.errors import UnavailableError
from worker.providers.rate_lines import (
    Answered,
    Booking,
    Change,
    Departure,
    Leave,
    RateLines,
    Refusal,
)

_MAX_BATCH: Final = 300
_LINGER_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Asked:
    booking: Booking
    unwanted: Callable[[Answered], None]
    answer: "asyncio.Future[Answered]"


@dataclass(frozen=True, slots=True)
class _Leaving:
    departure: Departure
    answer: "asyncio.Future[Leave]"


class RateTraffic:
    """The verbs of `RateLines`, one call at a time. Lives in one event loop."""

    def __init__(self, redis: Redis, lease_ms: int, freed: Callable[[str], None]) -> None:
        """freed: told of each key for which something was given back, once Redis knows."""
        self._lines = RateLines(redis, lease_ms)
        self._freed = freed
        self._asked: list[_Asked] = []
        self._leaving: list[_Leaving] = []
        self._changes: list[Change] = []
        self._refusals: list[Refusal] = []
        self._kept: set[str] = set()
        self._hurry = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def book(
        self, booking: Booking, unwanted: Callable[[Answered], None]
    ) -> "asyncio.Future[Answered]":
        """Room for a call; the future raises UnavailableError where Redis does not answer.
        unwanted: gets an answer for which nobody waits any more.
        """
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(booking, unwanted, answer))
        self._wake()
        return answer

    def depart(self, departure: Departure) -> "asyncio.Future[Leave]":
        """When a call may be sent. Redis gone, it is sent."""
        answer: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()
        self._leaving.append(_Leaving(departure, answer))
        self._wake()
        return answer

    def change(self, change: Change, *, is_urgent: bool) -> None:
        """Correct what a call booked. is_urgent: somebody may wait for it."""
        self._changes.append(change)
        self._wake(hurry=is_urgent)

    def refuse(self, refusal: Refusal) -> None:
        """A call was refused."""
        self._refusals.append(refusal)
        self._wake()

    def keep(self, key_id: str) -> None:
        """A key's provider gives nothing back."""
        self._kept.add(key_id)
        self._wake()

    async def renew(self, leases: Sequence[tuple[str, str]]) -> None:
        """Keep leases: key id and permit of each."""
        with suppress(RedisError, OSError):
            await self._lines.renew(leases)

    async def flush(self) -> None:
        """Return when all that was given back has been written, or Redis has failed to take it."""
        while self._pump is not None:
            self._hurry.set()
            await asyncio.shield(self._pump)

    def _wake(self, *, hurry: bool = True) -> None:
        if hurry:
            self._hurry.set()
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)
            while self._asked or self._leaving or self._changes or self._refusals or self._kept:
                await self._linger()
                await self._send_changes()
                await self._send_leaving()
                await self._send_asked()
        finally:
            self._pump = None

    async def _linger(self) -> None:
        if not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    await self._hurry.wait()
        self._hurry.clear()

    async def _send_changes(self) -> None:
        """Lost ones do little harm: leases expire, and a rate booked too high runs off."""
        changes, self._changes = self._changes, []
        refusals, self._refusals = self._refusals, []
        kept, self._kept = self._kept, set()
        with suppress(RedisError, OSError):
            if changes:
                await self._lines.change(changes)
            if refusals:
                await self._lines.refuse(refusals)
            if kept:
                await self._lines.keep(list(kept))
        for key_id in {one.key_id for one in changes}:
            self._freed(key_id)

    async def _send_leaving(self) -> None:
        leaving, self._leaving = self._leaving[:_MAX_BATCH], self._leaving[_MAX_BATCH:]
        if not leaving:
            return
        leaves = [Leave(0)] * len(leaving)
        with suppress(RedisError, OSError):
            leaves = await self._lines.depart([one.departure for one in leaving])
        for one, leave in zip(leaving, leaves, strict=True):
            if not one.answer.done():
                one.answer.set_result(leave)
        if self._leaving:
            self._hurry.set()

    async def _send_asked(self) -> None:
        asked, self._asked = self._asked[:_MAX_BATCH], self._asked[_MAX_BATCH:]
        asked = [one for one in asked if not one.answer.done()]
        if self._asked:
            self._hurry.set()
        if not asked:
            return
        try:
            answers = await self._lines.book([one.booking for one in asked])
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            refusal = f"Redis does not answer for rate limits: {type(error).__name__}"
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(UnavailableError(refusal))
            return
        for one, answered in zip(asked, answers, strict=True):
            if one.answer.done():
                one.unwanted(answered)
            else:
                one.answer.set_result(answered)
