"""What Redis remembers of a key's rate, and the verbs on it: the throttle's calls, many in one go.

The hash of a key holds, in microseconds of Redis's clock where nothing else is said:

    r, t     up to when its requests and its tokens are booked: each call takes the time that the
             key's rate gives it, tokens as many as such calls took so far
    d        the same with all tokens that they ask for, until they leave
    R, T, D  up to when calls have left, by each. Booked is ahead of time, and whoever is late then
             joins the end here: a stall is not followed by a crowd. D is by all tokens they ask for
    b, g     how far ahead of the clock D may run, and when b may double: a provider that takes all
             tokens at first and gives back later is not run dry by calls under way. At first a
             second
    o        the height of D at the last refusal for tokens; b then grows from shortly below, slowly
    m, at    how much slower than its limit (millionths, fading: `margin.lua`), and since when
    u        how much might go at once at that moment, growing
    q        nobody leaves before it: what is late is made up for in small steps
    p, n     nobody leaves before p; whether the first after it leaves by itself
    e, s     until when refusals tell nothing new, how often in a row it refused
    a, c     as D where nothing were given back, and how far ahead it was at the first of these
    h, l     the last step of m (millionths), and the last pause
    k, kn    until when nothing is given back at the end of a call, and for how long that was
    f        when the next job that finds no room should come back
    w        how long a slower pace fades until it is back where it was refused
    x, y, j  how many calls left since the last refusal, what they took, and how often in a row it
             was refused soon again
    A, B     all that calls asked for, and what of it those that ended did not use
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

PREFIX: Final = "{promptmill}:throttle:"
BURST_US: Final = 200_000  # a fifth of a second's worth may go at once: a minute stays within 0.4 %
_BELIEVED_US: Final = 300_000_000
_LUA: Final = Path(__file__).parent / "lua"


@dataclass(frozen=True, slots=True)
class Booking:
    """A call that wants room: what it takes of its key's time, in microseconds (0: no such limit).

    expected, asked: by the tokens that it will take as far as known, and by all that it asks for
    (its input and max_tokens). wait_us: the longest wait; negative
    books nothing and asks when to come back.
    """

    id: str
    key_id: str
    max_concurrency: int
    request_us: int
    expected_us: int
    asked_us: int
    wait_us: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a booking. note: of a granted one, that nothing is given back;
    of another, that ending calls make room.
    """

    is_granted: bool
    wait_us: int
    note: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Corrects what a call booked; lease: freed, "" for none. left_us: of its tokens, where it has
    departed. spared_us: what it asked for and did not use.
    """

    key_id: str
    lease: str
    has_departed: bool = False
    request_us: int = 0
    tokens_us: int = 0
    left_us: int = 0
    asked_us: int = 0
    spared_us: int = 0


@dataclass(frozen=True, slots=True)
class Departure:
    """A call that leaves, and what it takes; is_final: nothing is given back. early_us: how long
    before its turn it may ask.
    """

    key_id: str
    request_us: int
    tokens_us: int
    asked_us: int
    is_final: bool
    early_us: int


@dataclass(frozen=True, slots=True)
class Leave:
    """What became of a departure. wait_us: before it is sent; negative where it must ask again, at
    the latest so long after. is_final: nothing is given back. asked_us, spared_us: of all calls of
    the key until then.
    """

    wait_us: int
    is_final: bool = False
    asked_us: int = 0
    spared_us: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was refused; told_us: how long to wait, asked_us: 0 where not for its tokens."""

    key_id: str
    told_us: int
    asked_us: int


class RateLines:
    """The verbs; each raises what redis raises."""

    def __init__(self, redis: Redis, lease_ms: int) -> None:
        self._lease_ms = lease_ms
        verbs = ("acquire", "depart", "give_back", "refuse", "renew", "keep")
        margin = (_LUA / "margin.lua").read_text("utf-8")
        self._scripts = {
            verb: redis.register_script(margin + (_LUA / f"{verb}.lua").read_text("utf-8"))
            for verb in verbs
        }

    async def book(self, bookings: Sequence[Booking]) -> list[Answered]:
        """Book calls in their order."""
        keys, number = _numbered((one.key_id for one in bookings), ("rate", "leases"))
        args: list[str | int] = [BURST_US, self._lease_ms]
        for one in bookings:
            args += (number(one.key_id), one.max_concurrency, one.request_us, one.expected_us)
            args += (one.asked_us, one.wait_us, one.id)
        answers: Any = await self._scripts["acquire"](keys=keys, args=args)
        return [Answered(bool(granted), wait_us, bool(note)) for granted, wait_us, note in answers]

    async def change(self, changes: Sequence[Change]) -> None:
        """Correct what was booked."""
        keys, number = _numbered((one.key_id for one in changes), ("rate", "leases"))
        args: list[str | int] = []
        for one in changes:
            args += (number(one.key_id), one.lease, int(one.has_departed), one.request_us)
            args += (one.tokens_us, one.left_us, one.asked_us, one.spared_us)
        await self._scripts["give_back"](keys=keys, args=args)

    async def depart(self, departures: Sequence[Departure]) -> list[Leave]:
        """When each may be sent, in their order."""
        keys, number = _numbered((one.key_id for one in departures), ("rate",))
        args: list[str | int] = [BURST_US]
        for one in departures:
            args += (number(one.key_id), one.request_us, one.tokens_us, one.asked_us)
            args += (int(one.is_final), one.early_us)
        leaves: Any = await self._scripts["depart"](keys=keys, args=args)
        return [
            Leave(wait_us, bool(is_final), int(asked), int(spared))
            for wait_us, is_final, asked, spared in leaves
        ]

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Learn from refusals."""
        keys, number = _numbered((one.key_id for one in refusals), ("rate",))
        args: list[str | int] = []
        for one in refusals:
            args += (number(one.key_id), one.told_us, one.asked_us)
        await self._scripts["refuse"](keys=keys, args=args)

    async def keep(self, key_ids: Sequence[str]) -> None:
        """Take the providers of these keys for such as give nothing back, for a while."""
        keys, _ = _numbered(key_ids, ("rate",))
        await self._scripts["keep"](keys=keys, args=[_BELIEVED_US])

    async def renew(self, leases: Sequence[tuple[str, str]]) -> None:
        """Keep leases: key id and permit of each."""
        keys, number = _numbered((key_id for key_id, _ in leases), ("leases",))
        args: list[str | int] = [self._lease_ms]
        for key_id, permit in leases:
            args += (number(key_id), permit)
        await self._scripts["renew"](keys=keys, args=args)


def _numbered(
    key_ids: Iterable[str], parts: Sequence[str]
) -> tuple[list[str], Callable[[str], int]]:
    """The Redis keys of the distinct provider keys, and each one's 1-based number."""
    numbers = {key_id: i for i, key_id in enumerate(dict.fromkeys(key_ids), start=1)}
    names = [f"{PREFIX}{part}:{key_id}" for key_id in numbers for part in parts]
    return names, numbers.__getitem__
