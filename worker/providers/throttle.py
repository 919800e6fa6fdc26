"""The provider's rate: requests, tokens and concurrency per key over the whole cluster.

Calls are booked on a line of time in Redis: each takes the time its key's rate gives it, and may go
when its turn comes. So N workers together keep the rate and never send a burst. Tokens are booked
as calls have taken them so far (all they may take, while nothing is known) and corrected when a
call has ended; what calls under way may take beyond that is bounded, too. A refusal makes the key
slower for a while, and shows whether its provider gives back what calls did not use. Limits that a
provider states in its answers hold where they are lower than the catalog's. Concurrency is held by
leases that expire when a worker dies. Keys without limits cost no Redis call.

Not here: how many calls this process has in flight (`worker.call_slots`), and money (the ledger).
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from redis.asyncio import Redis

from shared.catalog.spec import ProviderSpec
from shared.clock import utc_now
from shared.redis_client import stopped
from worker.providers.errors import Throttled
from worker.providers.key_use import KeyUse
from worker.providers.permits import Delay, Full, Held, Permit, Wish, advice, advised
from worker.providers.rate_lines import (
    BURST_US,
    PREFIX,
    Answered,
    Booking,
    Change,
    Departure,
    Leave,
    Refusal,
)
from worker.providers.rate_traffic import RateTraffic

__all__ = ["BURST_US", "PREFIX", "Delay", "Permit", "Throttle"]

LEASE_MS: Final = 30_000
# How far ahead is booked: long enough for a reservation and an intent before the turn. Who comes
# when the line is full waits here: handed back at once, a large batch would go round and round.
_AHEAD_S: Final = 2.0
_ASK_EVERY_S: Final = 0.1
_ASK_EVERY_US: Final = 100_000
_EARLY_US: Final = 400_000
_HEAR_EVERY_S: Final = 0.25
_COME_BACK: Final = -1.0
LONGEST_PAUSE_S: Final = 2.0
"""The longest pause in which calls stay ready; the same figure in `refuse.lua`."""
_OF_REQUESTS: Final = re.compile(r"requests? per|\(RPM\)", re.IGNORECASE)


class Throttle:
    """Permits of all keys for one process. Lives in one event loop; close it with `aclose`."""

    def __init__(self, redis: Redis, *, lease_ms: int = LEASE_MS) -> None:
        self._traffic = RateTraffic(redis, lease_ms, self._freed)
        self._lease_ms = lease_ms
        self._held: dict[str, Held] = {}
        self._uses: defaultdict[str, KeyUse] = defaultdict(KeyUse)
        self._keeper: asyncio.Task[None] | None = None

    async def acquire(
        self,
        provider: ProviderSpec,
        key_id: str,
        tokens: int,
        *,
        model: str = "",
        output_tokens: int = 0,
        max_wait_s: float = 5.0,
    ) -> Permit | Delay:
        """Room for a call of so many tokens (input bound and max_tokens), booked.

        output_tokens: of them max_tokens. Waits up to `max_wait_s` where room may be made
        meanwhile: for its turn to come near, for a place, and for tokens. A turn that comes later
        than that is not booked; where many wait already, the delay is about as long as they and
        all who were sent away will take. Raises UnavailableError when Redis does not answer.
        """
        use = self._uses[key_id]
        limits = use.limits(provider, model)
        if limits.are_none:
            return Permit("", key_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max_wait_s
        wish = Wish(limits, provider, key_id, model, tokens, output_tokens)
        if not use.queue.locked() and loop.time() >= use.full_until:
            outcome = await self._book(wish, max_wait_s)
            if isinstance(outcome, Permit) or not outcome.may_fit_within(max_wait_s, limits):
                return advised(outcome)
        if max_wait_s <= 0:
            return Delay(advice(use.full_until - loop.time()))
        if use.is_crowded:
            return await self._book(use.at_best(wish), _COME_BACK)
        use.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await use.queue.acquire()
        except TimeoutError:
            return Delay(advice(max_wait_s))
        finally:
            use.waiting -= 1
        try:
            return await self._wait_for_room(wish, deadline)
        finally:
            use.queue.release()

    def may_ask_early(self, permit: Permit) -> bool:
        """Whether a call may `depart` up to a quarter of a second before its turn, with others."""
        return self._uses[permit.key_id].is_calm(asyncio.get_running_loop().time())

    async def depart(self, permit: Permit) -> None:
        """Wait until the call may really leave, once its turn has come: where many are late at
        once, they leave one after the other. Redis gone, it leaves.
        """
        held = self._held.get(permit.id)
        if held is None or not permit.is_paced:
            return
        use, clock = self._uses[permit.key_id], asyncio.get_running_loop().time
        asked_at = 0.0
        while not held.has_departed or use.refused_at > asked_at:
            asked_at = clock()
            leave = await self._leave(held, use)
            if leave.wait_us < 0:
                use.note_helped(asyncio.get_running_loop().time())
                use.freed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(-leave.wait_us / 1_000_000, _ASK_EVERY_S)):
                        await use.freed.wait()
                continue
            held.leaves(leave.asked_us, leave.spared_us, is_kept=leave.is_final)
            if leave.wait_us > 0:
                await asyncio.sleep(leave.wait_us / 1_000_000)

    def heard(
        self, key_id: str, model: str, headers: Mapping[str, str], permit: Permit | None = None
    ) -> None:
        """An answer came, to the call of this permit: its headers may state limits and tell how
        tokens are counted. Looked at a few times a second. Before `correct`.
        """
        now = asyncio.get_running_loop().time()
        use = self._uses[key_id]
        if now - use.heard_at < _HEAR_EVERY_S:
            return
        use.heard_at = now
        use.hear(model, headers, utc_now())
        held = self._held.get(permit.id) if permit is not None else None
        if held is not None and use.shows_nothing_given_back(model, held):
            self._traffic.keep(key_id)

    def correct(self, permit: Permit, actual_tokens: int, *, input_tokens: int = 0) -> None:
        """Count what a call really took instead of what it booked. Before `release`."""
        held = self._held.get(permit.id)
        if held is None or not permit.tokens_us:
            return
        if actual_tokens:
            habit = self._uses[permit.key_id].habit
            habit.learn(permit.tokens, actual_tokens, permit.input_tokens, input_tokens)
        actual_us = 0
        if actual_tokens:
            actual_us = permit.limits.us(input_tokens, actual_tokens - input_tokens)
        differences = held.gives_back(actual_us, was_answered=actual_tokens > 0)
        self._change(Change(permit.key_id, "", held.has_departed, 0, *differences))

    def refused(self, permit: Permit, refusal: Throttled) -> None:
        """The provider let the call not in for coming too fast. Before `release`."""
        if permit.id not in self._held:
            return
        self._uses[permit.key_id].refused_at = asyncio.get_running_loop().time()
        told_us = round((refusal.retry_after_s or 0.0) * 1_000_000)
        for_tokens = permit.tokens_us and not _OF_REQUESTS.search(refusal.message)
        asked_us = permit.asked_us if for_tokens else 0
        self._traffic.refuse(Refusal(permit.key_id, told_us, asked_us))

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
            spared_us = permit.asked_us if held.has_departed else 0
            self._change(Change(permit.key_id, lease, held.has_departed, *booked, spared_us))

    async def flush(self) -> None:
        """Return when all that was given back has been written, or Redis has failed to take it."""
        await self._traffic.flush()

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
        use = self._uses[wish.key_id]
        while True:
            await asyncio.sleep(max(0.0, min(use.full_until, deadline) - loop.time()))
            use.freed.clear()
            left = deadline - loop.time()
            outcome = await self._book(wish, max(0.0, left))
            if isinstance(outcome, Permit) or left <= 0:
                return advised(outcome)
            if not outcome.may_fit_within(left, wish.limits):
                return advised(outcome)
            if outcome.is_helped:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(_ASK_EVERY_S, left)):
                        await use.freed.wait()

    async def _book(self, wish: Wish, max_wait_s: float) -> Permit | Full:
        permit = self._uses[wish.key_id].permit(wish)
        wait_us = int(min(max_wait_s, _AHEAD_S) * 1_000_000)
        used = (permit.request_us, permit.tokens_us, permit.asked_us)
        most = wish.limits.max_concurrency or 0
        booking = Booking(permit.id, wish.key_id, most, *used, wait_us)

        def unwanted(answered: Answered) -> None:
            outcome = self._taken(permit, booking, answered)
            if isinstance(outcome, Permit):
                self.cancel(outcome)

        asked = self._traffic.book(booking, unwanted)
        try:
            answered = await asked
        except asyncio.CancelledError:
            if asked.done() and not asked.cancelled() and not asked.exception():
                unwanted(asked.result())
            raise
        return self._taken(permit, booking, answered)

    def _taken(self, permit: Permit, booking: Booking, answered: Answered) -> Permit | Full:
        """What a booking's answer means."""
        use, wait_s = self._uses[permit.key_id], answered.wait_us / 1_000_000
        if not answered.is_granted:
            if answered.note:
                use.note_helped(asyncio.get_running_loop().time())
            elif booking.wait_us >= 0 and wait_s > 0:
                longest_s = booking.wait_us / 1_000_000
                use.note_full(asyncio.get_running_loop().time(), wait_s, longest_s)
            return Full(wait_s, answered.note)
        booked = replace(permit, wait_s=wait_s)
        if answered.note:
            booked = replace(booked, tokens_us=booked.asked_us, is_final=True)
        use.each_us = max(booked.request_us, booked.tokens_us)
        self._held[booked.id] = Held(booked)
        if booked.is_leased and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.get_running_loop().create_task(self._keep_leases())
        return booked

    async def _leave(self, held: Held, use: KeyUse) -> Leave:
        """By what is known now: limits may have been stated and calls answered since it booked."""
        permit = held.permit
        request_us, held.left_us = use.leaving_us(permit)
        is_calm = use.is_calm(asyncio.get_running_loop().time())
        departure = Departure(
            permit.key_id,
            request_us,
            held.left_us,
            permit.asked_us,
            permit.is_final,
            _EARLY_US if is_calm else _ASK_EVERY_US,
        )
        return await self._traffic.depart(departure)

    def _change(self, change: Change) -> None:
        """Somebody may wait for a place, and for tokens where they lately were what was missing."""
        now = asyncio.get_running_loop().time()
        is_urgent = bool(change.lease) or self._uses[change.key_id].helped_until > now
        self._traffic.change(change, is_urgent=is_urgent)

    def _freed(self, key_id: str) -> None:
        self._uses[key_id].freed.set()

    async def _keep_leases(self) -> None:
        """Renew the leases held; ends when there is none."""
        while self._held:
            await asyncio.sleep(self._lease_ms / 3000)
            held = [one.permit for one in self._held.values()]
            leased = [(permit.key_id, permit.id) for permit in held if permit.is_leased]
            if leased:
                await self._traffic.renew(leased)
