"""The provider's rate: requests, tokens and concurrency per key over the whole cluster.

Calls are booked on a line of time in Redis: each takes the time its key's rate gives it, and may go
when its turn comes. So N workers together keep the rate and never send a burst. Concurrency is held
by leases that expire when a worker dies. Providers without limits cost no Redis call.

Not here: how many calls this process has in flight (`worker.call_slots`), and money (the ledger).
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.catalog.spec import ProviderSpec
from shared.domain.values import made_often
from shared.errors import UnavailableError
from shared.ids import permit_id

PREFIX: Final = "{promptmill}:throttle:"
BURST_US: Final = 250_000  # a quarter second's worth may go at once: a minute stays within 0.5 %
LEASE_MS: Final = 30_000
_MINUTE_US: Final = 60_000_000
_POLL_S: Final = 0.05
# How far ahead tokens are booked. They are booked as if each call took all it may, and corrected
# when it has ended, which moves up nobody's turn: what was booked far ahead comes too late.
_TOKENS_AHEAD_S: Final = 1.0
# How far ahead requests are booked: long enough for a reservation and an intent before the turn.
# Who comes when the line is full waits here: handed back at once, a large batch would go round and
# round (40,000 jobs under 3,000 requests a minute took 83 % of a core).
_REQUESTS_AHEAD_S: Final = 2.0
# Of a process's calls that wait for one key those that ask; their questions travel together.
_ASKING: Final = 8
_MAX_BATCH: Final = 300
_LUA: Final = Path(__file__).parent / "lua"


@made_often(frozen=True, slots=True)
class Permit:
    """Leave to send one call after `wait_s` seconds. `id` is "" where nothing limits the key.

    request_us, tokens_us: the time it booked; us_per_token: to correct it.
    """

    id: str
    key_id: str
    wait_s: float = 0.0
    tokens: int = 0
    request_us: int = 0
    tokens_us: int = 0
    us_per_token: float = 0.0
    is_leased: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """No room: ask again in so many seconds. Nothing was booked."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Asked:
    permit: Permit
    max_concurrency: int
    max_wait_us: int
    answer: "asyncio.Future[Permit | Delay]"


@dataclass(frozen=True, slots=True)
class _Correction:
    key_id: str
    lease: str
    request_us: int
    tokens_us: int


class Throttle:
    """Permits of all keys for one process. Lives in one event loop; close it with `aclose`."""

    def __init__(self, redis: Redis, *, lease_ms: int = LEASE_MS) -> None:
        self._acquire = redis.register_script((_LUA / "acquire.lua").read_text("utf-8"))
        self._give_back = redis.register_script((_LUA / "give_back.lua").read_text("utf-8"))
        self._renew = redis.register_script((_LUA / "renew.lua").read_text("utf-8"))
        self._lease_ms = lease_ms
        self._asked: list[_Asked] = []
        self._corrections: list[_Correction] = []
        self._held: dict[str, Permit] = {}
        self._freed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._queue: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_ASKING)
        )
        self._pump: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def acquire(
        self, provider: ProviderSpec, key_id: str, tokens: int, *, max_wait_s: float = 5.0
    ) -> Permit | Delay:
        """Room for a call of so many tokens (input bound and max_tokens), booked.

        Waits up to `max_wait_s` where room may be made meanwhile: for its turn to come near, for a
        place, and for tokens, which most calls book more of than they take. A turn that comes later
        than that is not booked. Raises UnavailableError when Redis does not answer.
        """
        if provider.rpm is None and provider.tpm is None and provider.max_concurrency is None:
            return Permit("", key_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max_wait_s
        queue = self._queue[key_id]
        if not queue.locked():
            outcome = await self._book(provider, key_id, tokens, max_wait_s)
            if max_wait_s <= 0 or not _may_fit_within(max_wait_s, outcome, provider):
                return _advised(outcome)
        try:
            async with asyncio.timeout_at(deadline):
                await queue.acquire()
        except TimeoutError:
            return Delay(_TOKENS_AHEAD_S if provider.tpm else _advice(max_wait_s))
        try:
            return await self._wait_for_room(provider, key_id, tokens, deadline)
        finally:
            queue.release()

    def correct(self, permit: Permit, actual_tokens: int) -> None:
        """Count what a call really took instead of what it booked. Before `release`."""
        if permit.id in self._held and permit.tokens_us:
            difference = round((actual_tokens - permit.tokens) * permit.us_per_token)
            self._correct(_Correction(permit.key_id, "", 0, difference))

    def release(self, permit: Permit) -> None:
        """The call has ended. A permit given back twice counts once."""
        if self._held.pop(permit.id, None) is not None and permit.is_leased:
            self._correct(_Correction(permit.key_id, permit.id, 0, 0))

    def cancel(self, permit: Permit) -> None:
        """The call was never sent: give back all that was booked."""
        if self._held.pop(permit.id, None) is not None:
            lease = permit.id if permit.is_leased else ""
            booked = (-permit.request_us, -permit.tokens_us)
            self._correct(_Correction(permit.key_id, lease, *booked))

    async def flush(self) -> None:
        """Return when all that was given back has been written, or Redis has failed to take it."""
        while self._pump is not None:
            await asyncio.shield(self._pump)

    async def aclose(self) -> None:
        """Give back every permit still held, and stop."""
        for permit in list(self._held.values()):
            self.release(permit)
        await self.flush()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    async def _wait_for_room(
        self, provider: ProviderSpec, key_id: str, tokens: int, deadline: float
    ) -> Permit | Delay:
        """Only the first few of this process's waiting calls ask, when one ends or every 50 ms."""
        loop = asyncio.get_running_loop()
        freed = self._freed[key_id]
        while True:
            freed.clear()
            left = deadline - loop.time()
            outcome = await self._book(provider, key_id, tokens, max(0.0, left))
            if left <= 0 or not _may_fit_within(left, outcome, provider):
                return _advised(outcome)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_POLL_S, left)):
                    await freed.wait()

    async def _book(
        self, provider: ProviderSpec, key_id: str, tokens: int, max_wait_s: float
    ) -> Permit | Delay:
        per_token = _MINUTE_US / provider.tpm if provider.tpm else 0.0
        ahead_s = min(max_wait_s, _TOKENS_AHEAD_S if provider.tpm else _REQUESTS_AHEAD_S)
        permit = Permit(
            permit_id(),
            key_id,
            tokens=tokens,
            request_us=math.ceil(_MINUTE_US / provider.rpm) if provider.rpm else 0,
            tokens_us=max(1, math.ceil(tokens * per_token)) if per_token else 0,
            us_per_token=per_token,
            is_leased=provider.max_concurrency is not None,
        )
        answer: asyncio.Future[Permit | Delay] = asyncio.get_running_loop().create_future()
        most = provider.max_concurrency or 0
        self._asked.append(_Asked(permit, most, int(ahead_s * 1_000_000), answer))
        self._wake()
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and not answer.exception():
                booked = answer.result()
                if isinstance(booked, Permit):
                    self.cancel(booked)
            raise

    def _correct(self, correction: _Correction) -> None:
        self._corrections.append(correction)
        self._wake()

    def _wake(self) -> None:
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """One exchange at a time; what comes meanwhile goes together in the next."""
        try:
            await asyncio.sleep(0)
            while self._asked or self._corrections:
                corrections, self._corrections = self._corrections, []
                if corrections:
                    await self._send_corrections(corrections)
                asked, self._asked = self._asked[:_MAX_BATCH], self._asked[_MAX_BATCH:]
                asked = [one for one in asked if not one.answer.done()]
                if asked:
                    await self._send_asked(asked)
        finally:
            self._pump = None

    async def _send_corrections(self, corrections: Sequence[_Correction]) -> None:
        keys, number = _numbered(c.key_id for c in corrections)
        args: list[str | int] = []
        for one in corrections:
            args += (number(one.key_id), one.lease, one.request_us, one.tokens_us)
        # Lost corrections do little harm: leases expire, and a rate booked too high runs off.
        with suppress(RedisError, OSError):
            await self._give_back(keys=keys, args=args)
        for one in corrections:
            self._freed[one.key_id].set()

    async def _send_asked(self, asked: Sequence[_Asked]) -> None:
        keys, number = _numbered(one.permit.key_id for one in asked)
        args: list[str | int] = [BURST_US, self._lease_ms]
        for one in asked:
            permit = one.permit
            args += (number(permit.key_id), one.max_concurrency, permit.request_us)
            args += (permit.tokens_us, one.max_wait_us, permit.id)
        try:
            answers: Any = await self._acquire(keys=keys, args=args)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            refusal = f"Redis does not answer for rate limits: {type(error).__name__}"
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(UnavailableError(refusal))
            return
        for one, (granted, wait_us) in zip(asked, answers, strict=True):
            self._deliver(one, bool(granted), wait_us / 1_000_000)

    def _deliver(self, one: _Asked, granted: bool, wait_s: float) -> None:
        if not granted:
            if not one.answer.done():
                one.answer.set_result(Delay(wait_s))
            return
        booked = replace(one.permit, wait_s=wait_s)
        self._held[booked.id] = booked
        if one.answer.done():  # its caller was cancelled meanwhile
            self.cancel(booked)
            return
        one.answer.set_result(booked)
        if booked.is_leased and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.get_running_loop().create_task(self._keep_leases())

    async def _keep_leases(self) -> None:
        """Renew the leases held; ends when there is none."""
        while self._held:
            await asyncio.sleep(self._lease_ms / 3000)
            leased = [permit for permit in self._held.values() if permit.is_leased]
            if not leased:
                continue
            keys, number = _numbered(permit.key_id for permit in leased)
            args: list[str | int] = [self._lease_ms]
            for permit in leased:
                args += (number(permit.key_id), permit.id)
            with suppress(RedisError, OSError):
                await self._renew(keys=keys[1::2], args=args)


def _numbered(key_ids: Iterable[str]) -> tuple[list[str], Callable[[str], int]]:
    """The Redis keys of the distinct provider keys, and each one's 1-based number."""
    numbers = {key_id: i for i, key_id in enumerate(dict.fromkeys(key_ids), start=1)}
    names = [f"{PREFIX}{part}:{key_id}" for key_id in numbers for part in ("rate", "leases")]
    return names, numbers.__getitem__


def _is_full(outcome: Permit | Delay) -> bool:
    """Whether only the end of another call makes room."""
    return isinstance(outcome, Delay) and outcome.seconds <= 0


def _may_fit_within(left_s: float, outcome: Permit | Delay, provider: ProviderSpec) -> bool:
    """Whether it is worth asking again: an ending call frees places and tokens, and a turn comes
    near, but requests are hardly ever given back.
    """
    if not isinstance(outcome, Delay):
        return False
    return provider.tpm is not None or outcome.seconds <= left_s


def _advised(outcome: Permit | Delay) -> Permit | Delay:
    return Delay(_advice(1.0)) if _is_full(outcome) else outcome


def _advice(waited_s: float) -> float:
    """When a caller that found all places taken should come back: about as long as it waited."""
    return min(5.0, max(0.5, waited_s))
