"""What the throttle and its callers hand to each other: limits, wishes, permits and delays."""

import math
from dataclasses import dataclass
from typing import Final

from shared.catalog.spec import ProviderSpec
from shared.domain.values import made_often

MINUTE_US: Final = 60_000_000


@made_often(frozen=True, slots=True)
class Limits:
    """What one key may do: requests and tokens a minute, of them input and output, calls at once;
    None where nothing says.
    """

    rpm: int | None
    tpm: int | None
    max_concurrency: int | None
    input_tpm: int | None = None
    output_tpm: int | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether tokens are limited in any way."""
        return bool(self.tpm or self.input_tpm or self.output_tpm)

    @property
    def are_none(self) -> bool:
        """Whether nothing is limited."""
        return self.rpm is None and self.max_concurrency is None and not self.has_tokens

    def us(self, inputs: float, outputs: float) -> int:
        """Microseconds of the key's time that so many tokens take: by the limit that they take most
        of. 0 where tokens are not limited.
        """
        if not self.has_tokens:
            return 0
        parts = (self.tpm, inputs + outputs), (self.input_tpm, inputs), (self.output_tpm, outputs)
        return max(1, *(math.ceil(used * MINUTE_US / limit) for limit, used in parts if limit))


UNLIMITED: Final = Limits(None, None, None)


@made_often(frozen=True, slots=True)
class Permit:
    """Leave to send one call after `wait_s` seconds. `id` is "" where nothing limits the key.

    request_us, tokens_us, asked_us: the time it booked, by its tokens as far as known and by all
    that it asks for (is_guess: nothing was known); limits: to correct it by;
    wish: what it was given for.
    is_final: its provider gives nothing back.
    """

    id: str
    key_id: str
    wait_s: float = 0.0
    tokens: int = 0
    input_tokens: int = 0
    request_us: int = 0
    tokens_us: int = 0
    asked_us: int = 0
    limits: Limits = UNLIMITED
    wish: "Wish | None" = None
    is_leased: bool = False
    is_guess: bool = False
    is_final: bool = False

    @property
    def is_paced(self) -> bool:
        """Whether its key has a rate."""
        return bool(self.request_us or self.tokens_us)


@dataclass(frozen=True, slots=True)
class Delay:
    """No room: ask again in so many seconds. Nothing was booked."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Full(Delay):
    """As a delay. is_helped: an ending call may make room before."""

    is_helped: bool

    def may_fit_within(self, left_s: float, limits: Limits) -> bool:
        """Whether it is worth asking again: an ending call frees places and tokens, and a turn
        comes near, but requests are hardly ever given back.
        """
        return left_s > 0 and (limits.has_tokens or self.is_helped or self.seconds <= left_s)


def advised(outcome: Permit | Delay) -> Permit | Delay:
    """A delay of 0: only the end of another call makes room."""
    return Delay(advice(1.0)) if isinstance(outcome, Delay) and not outcome.seconds else outcome


def advice(waited_s: float) -> float:
    """When a caller that found no room should come back: about as long as it waited."""
    return min(5.0, max(0.5, waited_s))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants room for: tokens, that is input bound and max_tokens, of them
    max_tokens; and of whom.
    """

    limits: Limits
    provider: ProviderSpec
    key_id: str
    model: str
    tokens: int
    output_tokens: int


@dataclass(slots=True)
class Held:
    """left_us: what its tokens were expected to take when it left. departure: what all calls of its
    key had asked for and spared by then, in microseconds; None before. is_kept: it left where
    nothing is given back.
    """

    permit: Permit
    has_departed: bool = False
    left_us: int = 0
    departure: tuple[int, int] | None = None
    is_kept: bool = False

    def leaves(self, asked_us: int, spared_us: int, *, is_kept: bool) -> None:
        """The call may leave. is_kept: where nothing is given back."""
        self.has_departed, self.is_kept = True, is_kept
        self.departure = (asked_us, spared_us)
        if is_kept and not self.permit.is_final:
            self.left_us = self.permit.asked_us

    def gives_back(self, actual_us: int, *, was_answered: bool) -> tuple[int, int, int, int]:
        """What to add, in microseconds, once its tokens turned out to take so many: to what it
        booked, to what it left with, to what it asked for, and to what was spared.
        """
        permit = self.permit
        spared = permit.asked_us - actual_us if self.has_departed else 0
        if permit.is_final or self.is_kept:
            booked, left = (0, 0) if was_answered else (-permit.tokens_us, -self.left_us)
            return booked, left, 0, spared
        left = actual_us - self.left_us
        if permit.is_guess and was_answered:
            left = max(0, left)  # a guess that was too high is not made up for by a crowd
        return actual_us - permit.tokens_us, left, actual_us - permit.asked_us, spared
