"""What the throttle and its callers hand to each other: limits, wishes, permits and delays."""

from dataclasses import dataclass

from shared.domain.values import made_often


@made_often(frozen=True, slots=True)
class Limits:
    """What one key may do: requests and tokens a minute, calls at once; None where nothing says."""

    rpm: int | None
    tpm: int | None
    max_concurrency: int | None


@made_often(frozen=True, slots=True)
class Permit:
    """Leave to send one call after `wait_s` seconds. `id` is "" where nothing limits the key.

    request_us, tokens_us, asked_us: the time it booked, by its tokens as far as known and by all
    that it asks for (is_guess: nothing was known); us_per_token: to correct it.
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
    us_per_token: float = 0.0
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


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants room for, in tokens: input bound and max_tokens, of them max_tokens."""

    limits: Limits
    key_id: str
    tokens: int
    output_tokens: int


@dataclass(slots=True)
class Held:
    """left_us: what its tokens were expected to take when it left."""

    permit: Permit
    has_departed: bool = False
    left_us: int = 0
