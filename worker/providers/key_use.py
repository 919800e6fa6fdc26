"""A provider's key as one process uses it: who waits, what calls took, what the provider states."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.catalog.spec import ProviderSpec
from shared.ids import permit_id
from worker.providers.habits import Habit
from worker.providers.permits import Limits, Permit, Wish
from worker.providers.stated_limits import NOTHING_STATED, Stated

MINUTE_US: Final = 60_000_000
# Of a process's calls that wait for one key those that ask; their questions travel together.
_ASKING: Final = 8
# So many seconds' worth of calls wait in a process; others come back when their turn is near.
_WAITING_S: Final = 3.0
_FEWEST_WAITING: Final = 16
_MOST_MODELS: Final = 1000


@dataclass(slots=True)
class KeyUse:
    """stated: by model, since vendors limit models apart. full_until: before that moment nobody
    asks for room. helped_until: until then the end of a call makes room for others. each_us: what
    the last call took of the key's rate.
    """

    queue: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ASKING))
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    habit: Habit = field(default_factory=Habit)
    stated: dict[str, Stated] = field(default_factory=dict)
    heard_at: float = -math.inf
    waiting: int = 0
    each_us: int = 0
    full_until: float = 0.0
    helped_until: float = 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether enough calls wait here to take all turns of the next seconds."""
        if not self.each_us:
            return False
        return self.waiting >= max(_FEWEST_WAITING, _WAITING_S * 1_000_000 / self.each_us)

    def limits(self, provider: ProviderSpec, model: str) -> Limits:
        """The catalog's limits, or lower ones that the provider states."""
        rpm, tpm = provider.rpm, provider.tpm
        stated = self.stated.get(model)
        if stated is not None:
            rpm, tpm = _lower(rpm, stated.rpm(rpm)), _lower(tpm, stated.tpm(tpm))
        return Limits(rpm, tpm, provider.max_concurrency)

    def hear(self, model: str, headers: Mapping[str, str], now: datetime) -> None:
        """What an answer's headers state."""
        before = self.stated.get(model, NOTHING_STATED)
        stated = before.heard(headers, now)
        if stated is not NOTHING_STATED and len(self.stated) < _MOST_MODELS:
            self.stated[model] = stated

    def permit(self, wish: Wish) -> Permit:
        """What a call would book as far as is known now."""
        limits, habit = wish.limits, self.habit
        per_token = MINUTE_US / limits.tpm if limits.tpm else 0.0
        inputs = wish.tokens - wish.output_tokens
        return Permit(
            permit_id(),
            wish.key_id,
            tokens=wish.tokens,
            input_tokens=inputs,
            request_us=math.ceil(MINUTE_US / limits.rpm) if limits.rpm else 0,
            tokens_us=_in_us(habit.expected(wish.tokens), per_token),
            asked_us=_in_us(habit.input_of(inputs) + wish.output_tokens, per_token),
            us_per_token=per_token,
            is_leased=limits.max_concurrency is not None,
            is_guess=not habit.is_known,
        )

    def leaving_us(self, permit: Permit) -> int:
        """What a call's tokens take as it leaves: more may be known by now than when it booked."""
        if permit.is_guess and not permit.is_final and self.habit.is_known:
            return math.ceil(self.habit.expected(permit.tokens) * permit.us_per_token)
        return permit.tokens_us


def _in_us(tokens: float, per_token: float) -> int:
    return max(1, math.ceil(tokens * per_token)) if per_token else 0


def _lower(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
