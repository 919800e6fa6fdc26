"""The provider's rate: requests, tokens and concurrency per key over the whole cluster.

Calls are booked on a line of time in Redis: each takes the time its key's rate gives it, and may go
when its turn comes. So N workers together keep the rate and never send a burst. Tokens are booked
as calls have taken them so far (all they may take, while nothing is known) and corrected when a
call has ended; what calls under way may take beyond that is bounded, too. A refusal makes the key
slower for a while, and shows whether its provider gives back what calls did not use. Concurrency is
held by leases that expire when a worker dies. Providers without limits cost no Redis call.

Not here: how many calls this process has in flight (`worker.call_slots`), and money (the ledger).
"""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.catalog.spec import ProviderSpec
from shared.errors import UnavailableError
from shared.ids import permit_id
from shared.redis_client import stopped
from worker.providers.errors import Throttled
from worker.providers.habits import Habit
from worker.providers.permits import Delay, Full, Held, Permit, Wish
from worker.providers.rate_lines import (
    BURST_US,
    PREFIX,
    Answered,
    Booking,
    Change,
    Departure,
    RateLines,
    Refusal,
)

__all__ = ["BURST_US", "PREFIX", "Delay", "Permit", "Throttle"]

LEASE_MS: Final = 30_000
_MINUTE_US: Final = 60_000_000
# How far ahead is booked: long enough for a reservation and an intent before the turn. Who comes
# when the line is full waits here: handed back at once, a large batch would go round and round.
_AHEAD_S: Final = 2.0
_ASK_EVERY_S: Final = 0.1
# Of a process's calls that wait for one key those that ask; their questions travel together.
_ASKING: Final = 8
# So many seconds' worth of calls wait in a process; others come back when their turn is near.
_WAITING_S: Final = 3.0
_FEWEST_WAITING: Final = 16
_COME_BACK: Final = -1.0
_MAX_BATCH: Final = 300
LONGEST_PAUSE_S: Final = 2.0
"""The longest pause in which calls stay ready; the same figure in `refuse.lua`."""
_OF_REQUESTS: Final = re.compile(r"requests? per|\(RPM\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Asked:
    permit: Permit
    booking: Booking
    answer: "asyncio.Future[Permit | Full]"


@dataclass(frozen=True, slots=True)
class _Leaving:
    departure: Departure
    answer: "asyncio.Future[float]"


@dataclass(slots=True)
class _Key:
    """A key as this process uses it. full_until: before that moment nobody asks for room.
    each_us: what the last call took of its rate.
    """

    queue: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ASKING))
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    habit: Habit = field(default_factory=Habit)
    waiting: int = 0
    each_us: int = 0
    full_until: float = 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether enough calls wait here to take all turns of the next seconds."""
        if not self.each_us:
            return False
        return self.waiting >= max(_FEWEST_WAITING, _WAITING_S * 1_000_000 / self.each_us)


class Throttle:
    """Permits of all keys for one process. Lives in one event loop; close it with `aclose`."""

    def __init__(self, redis: Redis, *, lease_ms: int = LEASE_MS) -> None:
        self._lines = RateLines(redis, lease_ms)
        self._lease_ms = lease_ms
        self._asked: list[_Asked] = []
        self._leaving: list[_Leaving] = []
        self._changes: list[Change] = []
        self._refusals: list[Refusal] = []
        self._held: dict[str, Held] = {}
        self._keys: defaultdict[str, _Key] = defaultdict(_Key)
        self._pump: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def acquire(
        self,
        provider: ProviderSpec,
        key_id: str,
        tokens: int,
        *,
        output_tokens: int = 0,
        max_wait_s: float = 5.0,
    ) -> Permit | Delay:
        """Room for a call of so many tokens (input bound and max_tokens), booked.

        output_tokens: of them max_tokens. Waits up to `max_wait_s` where room may be made
        meanwhile: for its turn to come near, for a place, and for tokens. A turn that comes later
        than that is not booked; where many wait already, the delay is about as long as they and
        all who were sent away will take. Raises UnavailableError when Redis does not answer.
        """
        if provider.rpm is None and provider.tpm is None and provider.max_concurrency is None:
            return Permit("", key_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max_wait_s
        key = self._keys[key_id]
        wish = Wish(provider, key_id, tokens, output_tokens)
        if not key.queue.locked() and loop.time() >= key.full_until:
            outcome = await self._book(wish, max_wait_s)
            if isinstance(outcome, Permit) or not _may_fit_within(max_wait_s, outcome, provider):
                return _advised(outcome)
        if max_wait_s <= 0:
            return Delay(_advice(key.full_until - loop.time()))
        if key.is_crowded:
            return await self._book(wish, _COME_BACK)
        key.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await key.queue.acquire()
        except TimeoutError:
            return Delay(_advice(max_wait_s))
        finally:
            key.waiting -= 1
        try:
            return await self._wait_for_room(wish, deadline)
        finally:
            key.queue.release()

    async def depart(self, permit: Permit) -> None:
        """Wait until the call may really leave, once its turn has come: where many are late at
        once, they leave one after the other. Redis gone, it leaves.
        """
        held = self._held.get(permit.id)
        if held is None or not permit.is_paced:
            return
        key = self._keys[permit.key_id]
        while (wait_s := await self._leave(held)) < 0:
            key.freed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(-wait_s, _ASK_EVERY_S)):
                    await key.freed.wait()
        held.has_departed = True
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def correct(self, permit: Permit, actual_tokens: int, *, input_tokens: int = 0) -> None:
        """Count what a call really took instead of what it booked. Before `release`."""
        held = self._held.get(permit.id)
        if held is None or not permit.tokens_us:
            return
        if actual_tokens:
            habit = self._keys[permit.key_id].habit
            habit.learn(permit.tokens, actual_tokens, permit.input_tokens, input_tokens)
        actual_us = round(actual_tokens * permit.us_per_token)
        if permit.is_final:
            changed = 0 if actual_tokens else -permit.tokens_us
            differences = (changed, changed, 0)
        else:
            left = actual_us - held.left_us
            if permit.is_guess and actual_tokens:
                left = max(0, left)  # a guess that was too high is not made up for by a crowd
            differences = (actual_us - permit.tokens_us, left, actual_us - permit.asked_us)
        self._change(Change(permit.key_id, "", held.has_departed, 0, *differences))

    def refused(self, permit: Permit, refusal: Throttled) -> None:
        """The provider let the call not in for coming too fast. Before `release`."""
        if permit.id not in self._held:
            return
        told_us = round((refusal.retry_after_s or 0.0) * 1_000_000)
        for_tokens = permit.tokens_us and not _OF_REQUESTS.search(refusal.message)
        self._refusals.append(Refusal(permit.key_id, told_us, permit.asked_us if for_tokens else 0))
        self._wake()

    def release(self, permit: Permit) -> None:
        """The call has ended. A permit given back twice counts once."""
        if self._held.pop(permit.id, None) is not None and permit.is_leased:
            self._change(Change(permit.key_id, permit.id))

    def cancel(self, permit: Permit) -> None:
        """The call was never sent: give back all that was booked."""
        held = self._held.pop(permit.id, None)
        if held is not None:
            lease = permit.id if permit.is_leased else ""
            asked_us = 0 if permit.is_final else permit.asked_us
            booked = (-permit.request_us, -permit.tokens_us, -held.left_us, -asked_us)
            self._change(Change(permit.key_id, lease, held.has_departed, *booked))

    async def flush(self) -> None:
        """Return when all that was given back has been written, or Redis has failed to take it."""
        while self._pump is not None:
            await asyncio.shield(self._pump)

    async def aclose(self) -> None:
        """Give back every permit still held, and stop."""
        for held in list(self._held.values()):
            self.release(held.permit)
        await self.flush()
        if self._keeper is not None:
            await stopped(self._keeper)

    async def _wait_for_room(self, wish: Wish, deadline: float) -> Permit | Delay:
        """Only the first few of this process's waiting calls ask, and no more often than there may
        be something new.
        """
        loop = asyncio.get_running_loop()
        key = self._keys[wish.key_id]
        while True:
            await asyncio.sleep(max(0.0, min(key.full_until, deadline) - loop.time()))
            key.freed.clear()
            left = deadline - loop.time()
            outcome = await self._book(wish, max(0.0, left))
            if isinstance(outcome, Permit) or left <= 0:
                return _advised(outcome)
            if not _may_fit_within(left, outcome, wish.provider):
                return _advised(outcome)
            if outcome.is_helped:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(_ASK_EVERY_S, left)):
                        await key.freed.wait()

    def _permit(self, wish: Wish) -> Permit:
        """What it would book as far as is known now."""
        provider, habit = wish.provider, self._keys[wish.key_id].habit
        per_token = _MINUTE_US / provider.tpm if provider.tpm else 0.0

        def in_us(count: float) -> int:
            return max(1, math.ceil(count * per_token)) if per_token else 0

        inputs = wish.tokens - wish.output_tokens
        return Permit(
            permit_id(),
            wish.key_id,
            tokens=wish.tokens,
            input_tokens=inputs,
            request_us=math.ceil(_MINUTE_US / provider.rpm) if provider.rpm else 0,
            tokens_us=in_us(habit.expected(wish.tokens)),
            asked_us=in_us(habit.input_of(inputs) + wish.output_tokens),
            us_per_token=per_token,
            is_leased=provider.max_concurrency is not None,
            is_guess=not habit.is_known,
        )

    async def _book(self, wish: Wish, max_wait_s: float) -> Permit | Full:
        permit = self._permit(wish)
        wait_us = int(min(max_wait_s, _AHEAD_S) * 1_000_000)
        used = (permit.request_us, permit.tokens_us, permit.asked_us)
        most = wish.provider.max_concurrency or 0
        booking = Booking(permit.id, wish.key_id, most, *used, wait_us)
        answer: asyncio.Future[Permit | Full] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(permit, booking, answer))
        self._wake()
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and not answer.exception():
                booked = answer.result()
                if isinstance(booked, Permit):
                    self.cancel(booked)
            raise

    async def _leave(self, held: Held) -> float:
        """Seconds to wait; negative: to ask again."""
        permit = held.permit
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        held.left_us = permit.tokens_us
        habit = self._keys[permit.key_id].habit
        if permit.is_guess and not permit.is_final and habit.is_known:
            held.left_us = math.ceil(habit.expected(permit.tokens) * permit.us_per_token)
        departure = Departure(
            permit.key_id, permit.request_us, held.left_us, permit.asked_us, permit.is_final
        )
        self._leaving.append(_Leaving(departure, answer))
        self._wake()
        return await answer

    def _change(self, change: Change) -> None:
        self._changes.append(change)
        self._wake()

    def _wake(self) -> None:
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """One exchange at a time; what comes meanwhile goes together in the next."""
        try:
            await asyncio.sleep(0)
            while self._asked or self._leaving or self._changes or self._refusals:
                await self._send_changes()
                await self._send_leaving()
                asked, self._asked = self._asked[:_MAX_BATCH], self._asked[_MAX_BATCH:]
                asked = [one for one in asked if not one.answer.done()]
                if asked:
                    await self._send_asked(asked)
        finally:
            self._pump = None

    async def _send_changes(self) -> None:
        """Lost ones do little harm: leases expire, and a rate booked too high runs off."""
        changes, self._changes = self._changes, []
        refusals, self._refusals = self._refusals, []
        with suppress(RedisError, OSError):
            if changes:
                await self._lines.change(changes)
            if refusals:
                await self._lines.refuse(refusals)
        for one in changes:
            self._keys[one.key_id].freed.set()

    async def _send_leaving(self) -> None:
        leaving, self._leaving = self._leaving[:_MAX_BATCH], self._leaving[_MAX_BATCH:]
        if not leaving:
            return
        waits = [0] * len(leaving)
        with suppress(RedisError, OSError):
            waits = await self._lines.depart([one.departure for one in leaving])
        for one, wait_us in zip(leaving, waits, strict=True):
            if not one.answer.done():
                one.answer.set_result(wait_us / 1_000_000)

    async def _send_asked(self, asked: Sequence[_Asked]) -> None:
        try:
            answers = await self._lines.book([one.booking for one in asked])
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            refusal = f"Redis does not answer for rate limits: {type(error).__name__}"
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(UnavailableError(refusal))
            return
        for one, answered in zip(asked, answers, strict=True):
            self._deliver(one, answered)

    def _deliver(self, one: _Asked, answered: Answered) -> None:
        wait_s = answered.wait_us / 1_000_000
        if not answered.is_granted:
            if one.booking.wait_us >= 0 and wait_s > 0 and not answered.note:
                self._note_full(one.booking, wait_s)
            if not one.answer.done():
                one.answer.set_result(Full(wait_s, answered.note))
            return
        booked = replace(one.permit, wait_s=wait_s)
        if answered.note:
            booked = replace(booked, tokens_us=booked.asked_us, is_final=True)
        self._keys[booked.key_id].each_us = max(booked.request_us, booked.tokens_us)
        self._held[booked.id] = Held(booked)
        if one.answer.done():  # its caller was cancelled meanwhile
            self.cancel(booked)
            return
        one.answer.set_result(booked)
        if booked.is_leased and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.get_running_loop().create_task(self._keep_leases())

    def _note_full(self, booking: Booking, wait_s: float) -> None:
        """Nobody asks until there may be room: the next tenth of a second at the earliest."""
        near_s = max(_ASK_EVERY_S, wait_s - booking.wait_us / 1_000_000)
        now = asyncio.get_running_loop().time()
        self._keys[booking.key_id].full_until = now + min(near_s, 1.0)

    async def _keep_leases(self) -> None:
        """Renew the leases held; ends when there is none."""
        while self._held:
            await asyncio.sleep(self._lease_ms / 3000)
            held = [one.permit for one in self._held.values()]
            leased = [(permit.key_id, permit.id) for permit in held if permit.is_leased]
            if leased:
                with suppress(RedisError, OSError):
                    await self._lines.renew(leased)


def _may_fit_within(left_s: float, outcome: Full, provider: ProviderSpec) -> bool:
    """Whether it is worth asking again: an ending call frees places and tokens, and a turn comes
    near, but requests are hardly ever given back.
    """
    return left_s > 0 and (
        provider.tpm is not None or outcome.is_helped or outcome.seconds <= left_s
    )


def _advised(outcome: Permit | Delay) -> Permit | Delay:
    """A delay of 0: only the end of another call makes room."""
    return Delay(_advice(1.0)) if isinstance(outcome, Delay) and not outcome.seconds else outcome


def _advice(waited_s: float) -> float:
    """When a caller that found no room should come back: about as long as it waited."""
    return min(5.0, max(0.5, waited_s))
