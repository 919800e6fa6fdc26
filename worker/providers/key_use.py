"""A provider's key as one process uses it: who waits, what calls took, what the provider states."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from shared.catalog.spec import ProviderSpec
from shared.ids import permit_id
from worker.providers.counting import Counting, Departed
from worker.providers.habits import Habit
from worker.providers.permits import MINUTE_US, Held, Limits, Permit, Wish
from worker.providers.stated_limits import NOTHING_STATED, Stated

# Of a process's calls that wait for one key those that ask; their questions travel together.
_ASKING: Final = 8
# So many seconds' worth of calls wait in a process (of several); others come back when their turn
# is near.
_WAITING_S: Final = 1.5
_FEWEST_WAITING: Final = 8
_ASK_EVERY_S: Final = 0.1
# Where the line is full as far ahead as a call may wait, a quarter of that may pass before they
# who wait ask again: several then do.
_FULL_FOR: Final = 0.25
_LONGEST_FULL_S: Final = 1.0
_HELPED_S: Final = 2.0
_SLOW_US: Final = 5000
_CALM_S: Final = 60.0
_MOST_MODELS: Final = 1000


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class KeyUse:
    """stated, countings: by model, since vendors limit models apart. full_until: before that moment
    nobody asks for room. helped_until: until then the end of a call makes room for others. each_us:
    what the last call took of the key's rate. refused_at: when a call of this process was, or
    the key was first used: then nothing is known of it.
    """

    queue: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ASKING))
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    habit: Habit = field(default_factory=Habit)
    stated: dict[str, Stated] = field(default_factory=dict)
    countings: dict[str, Counting] = field(default_factory=dict)
    heard_at: float = -math.inf
    waiting: int = 0
    each_us: int = 0
    full_until: float = 0.0
    helped_until: float = 0.0
    refused_at: float = field(default_factory=_now)

    def is_calm(self, now: float) -> bool:
        """Whether calls that leave in the same quarter of a second may ask for their turns
        together: should one be refused, those of other processes leave all the same. Calls of a
        fast key ask together anyway.
        """
        return self.each_us >= _SLOW_US and now - self.refused_at > _CALM_S

    @property
    def is_crowded(self) -> bool:
        """Whether enough calls wait here to take all turns of the next seconds."""
        if not self.each_us:
            return False
        return self.waiting >= max(_FEWEST_WAITING, _WAITING_S * 1_000_000 / self.each_us)

    def note_helped(self, now: float) -> None:
        """The end of a call makes room, for now."""
        self.helped_until = now + _HELPED_S

    def note_full(self, now: float, wait_s: float, longest_s: float) -> None:
        """The next turn comes in `wait_s`, later than `longest_s`: nobody asks until there may be
        room for several.
        """
        pause = max(_ASK_EVERY_S, _FULL_FOR * longest_s, wait_s - longest_s)
        self.full_until = now + min(pause, _LONGEST_FULL_S)

    def limits(self, provider: ProviderSpec, model: str) -> Limits:
        """The catalog's limits, or lower ones that the provider states."""
        rpm, tpm = provider.rpm, provider.tpm
        stated = self.stated.get(model)
        if stated is None:
            return Limits(rpm, tpm, provider.max_concurrency)
        rpm, both = _lower(rpm, stated.rpm(rpm)), _lower(tpm, stated.tpm(tpm))
        parts = (stated.input_tpm(tpm), stated.output_tpm(tpm))
        return Limits(rpm, both, provider.max_concurrency, *parts)

    def at_best(self, wish: Wish) -> Wish:
        """The same by twice the limits, the catalog's at most: who comes back later shall be there
        in time should a limit that was lowered be raised again.
        """
        limits, provider = wish.limits, wish.provider
        rpm = _lower(provider.rpm, 2 * limits.rpm) if limits.rpm else None
        tpm = _lower(provider.tpm, 2 * limits.tpm) if limits.tpm else None
        return replace(wish, limits=replace(limits, rpm=rpm, tpm=tpm))

    def hear(self, model: str, headers: Mapping[str, str], now: datetime) -> None:
        """What an answer's headers state."""
        before = self.stated.get(model, NOTHING_STATED)
        stated = before.heard(headers, now)
        if stated is not NOTHING_STATED and len(self.stated) < _MOST_MODELS:
            self.stated[model] = stated

    def permit(self, wish: Wish) -> Permit:
        """What a call would book as far as is known now."""
        limits, habit = wish.limits, self.habit
        inputs = wish.tokens - wish.output_tokens
        taken = habit.expected(wish.tokens)
        read = min(taken, habit.input_of(inputs))
        return Permit(
            permit_id(),
            wish.key_id,
            tokens=wish.tokens,
            input_tokens=inputs,
            request_us=math.ceil(MINUTE_US / limits.rpm) if limits.rpm else 0,
            tokens_us=limits.us(read, taken - read),
            asked_us=limits.us(habit.input_of(inputs), wish.output_tokens),
            limits=limits,
            wish=wish,
            is_leased=limits.max_concurrency is not None,
            is_guess=not habit.is_known,
        )

    def leaving_us(self, permit: Permit) -> tuple[int, int]:
        """What a call's request and its tokens take as it leaves: more may be known by now than
        when it booked.
        """
        wish = permit.wish
        if wish is None:
            return permit.request_us, permit.tokens_us
        limits = self.limits(wish.provider, wish.model)
        is_news = permit.is_guess and self.habit.is_known
        if permit.is_final or not (is_news or limits != permit.limits):
            return permit.request_us, permit.tokens_us
        now = self.permit(replace(wish, limits=limits))
        return max(permit.request_us, now.request_us), now.tokens_us

    def shows_nothing_given_back(self, model: str, held: Held) -> bool:
        """Whether the answer that was last heard, to this call, shows that its provider counts what
        calls ask for, or that it still does.
        """
        limits, stated = held.permit.limits, self.stated.get(model)
        gauge = stated.tokens if stated is not None else None
        if gauge is None or gauge.remaining is None or held.departure is None or not limits.tpm:
            return False
        if limits.input_tpm or limits.output_tpm:
            return False
        if held.is_kept:
            return Counting.is_still_so(gauge.limit, gauge.remaining)
        asked, spared = (us * limits.tpm / MINUTE_US for us in held.departure)
        counting = self.countings.setdefault(model, Counting())
        return counting.gives_nothing_back(gauge.limit, gauge.remaining, Departed(asked, spared))


def _lower(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
