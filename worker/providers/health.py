"""Which keys may be used now: the circuits and cool-downs all workers share in Redis.

Reading is local: a snapshot refreshed at most every 250 ms. What this process sees counts here at
once and is written in the background, only where it changes something; several events of a key go
in one compare-and-set. Without Redis each process goes on with what it has seen itself: health
never refuses for lack of Redis (the ledger and the throttle do).
"""

import asyncio
import math
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.clock import utc_now
from shared.domain.values import made_often
from shared.provider_health import KEY, WELL, KeyHealth, KeyState, parse_all
from shared.redis_client import stopped
from worker.providers import breaker
from worker.providers.breaker import (
    Event,
    ProbeDropped,
    ProbeEnded,
    ProbeRenewed,
    ProbeStarted,
    Succeeded,
)
from worker.providers.errors import ProviderError

_REPLACE: Final = (Path(__file__).parent / "lua" / "replace_health.lua").read_text("utf-8")
_TRIES: Final = 20
_SHORTEST_WAIT_S: Final = 0.25


@made_often(frozen=True, slots=True)
class Available:
    """A key to use. The one call of the cluster that tries a sick key is its probe."""

    key_id: str
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Barred:
    """No key may be used for so many seconds. `is_down`: a circuit is open (not a mere pause)."""

    seconds: float
    reason: str
    is_down: bool
    account_level: bool


class HealthBoard:
    """The health of all keys as one process sees it. Lives in one event loop."""

    def __init__(self, redis: Redis, *, refresh_s: float = 0.25) -> None:
        self._redis = redis
        self._replace = redis.register_script(_REPLACE)
        self._refresh_s = refresh_s
        self._view: dict[str, KeyHealth] = {}
        self._pending: dict[str, list[Event]] = {}
        self._probes: dict[str, str] = {}
        self._offset_ms = 0
        self._read_at = -math.inf
        self._newer: set[str] = set()  # keys written since the look under way began
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def available(self, key_ids: Sequence[str]) -> Available | Barred:
        """A usable key, in the order given; a key that is due for its probe goes first."""
        if asyncio.get_running_loop().time() - self._read_at >= self._refresh_s:
            await self._refresh()
        if self._view.keys().isdisjoint(key_ids):
            return Available(key_ids[0])
        now = self._now_ms()
        view = {key_id: self._view.get(key_id, WELL) for key_id in key_ids}
        for key_id, health in view.items():
            if health.state is not KeyState.CLOSED and breaker.is_probe_free(health, now):
                if await self._take_probe(key_id):
                    return Available(key_id, is_probe=True)
                view[key_id] = self._view.get(key_id, WELL)
        for key_id, health in view.items():
            if health.state is KeyState.CLOSED and health.cooldown_ms <= now:
                return Available(key_id)
        return _barred(list(view.values()), now)

    def barred_now(self, key_ids: Sequence[str]) -> Barred | None:
        """As this process sees it, without asking Redis: None where one of the keys may be used."""
        if any(key_id not in self._view for key_id in key_ids):
            return None
        now = self._now_ms()
        view = [self._view.get(key_id, WELL) for key_id in key_ids]
        if any(one.state is KeyState.CLOSED and one.cooldown_ms <= now for one in view):
            return None
        return _barred(view, now)

    def record_success(self, key_id: str, *, is_probe: bool = False) -> None:
        """A call was answered."""
        if not is_probe and key_id not in self._view:
            return  # it was well, and is
        token = self._probes.pop(key_id, None) if is_probe else None
        self._note(key_id, ProbeEnded(token, Succeeded()) if token else Succeeded())

    def record_failure(self, key_id: str, error: ProviderError, *, is_probe: bool = False) -> None:
        """A call failed; counts here at once."""
        failed = breaker.failure_of(error)
        token = self._probes.pop(key_id, None) if is_probe else None
        self._note(key_id, ProbeEnded(token, failed) if token else failed)

    def release_probe(self, key_id: str) -> None:
        """Give up a probe that told nothing, so that another call may be it."""
        token = self._probes.pop(key_id, None)
        if token:
            self._note(key_id, ProbeDropped(token))

    def snapshot(self) -> dict[str, KeyHealth]:
        """The view of this process: only keys that are or lately were in trouble."""
        return dict(self._view)

    async def flush(self) -> None:
        """Return when all that was noted has been written (or Redis has failed to take it)."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def aclose(self) -> None:
        """Give up the probes held, write what is pending, stop."""
        for key_id in list(self._probes):
            self.release_probe(key_id)
        await self.flush()
        await stopped(*(task for task in (self._keeper, self._reading) if task is not None))

    def _now_ms(self) -> int:
        return int(utc_now().timestamp() * 1000) + self._offset_ms

    def _note(self, key_id: str, event: Event) -> None:
        before = self._view.get(key_id, WELL)
        after = breaker.step(before, event, self._now_ms())
        if after == before and not isinstance(event, ProbeEnded | ProbeDropped):
            return
        self._set_view(key_id, after)
        self._pending.setdefault(key_id, []).append(event)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_pending())

    def _set_view(self, key_id: str, health: KeyHealth) -> None:
        if health == WELL:
            self._view.pop(key_id, None)
        else:
            self._view[key_id] = health

    async def _refresh(self) -> None:
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        self._newer.clear()
        try:
            with suppress(RedisError, OSError):
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.time()
                    pipe.hgetall(KEY)
                    (seconds, micros), fields = await pipe.execute()
                server_ms = int(seconds) * 1000 + int(micros) // 1000
                self._offset_ms = server_ms - int(utc_now().timestamp() * 1000)
                self._adopt(parse_all(fields))
        finally:
            self._read_at = loop.time()
            self._reading = None

    def _adopt(self, remote: dict[str, KeyHealth]) -> None:
        """Take over what Redis held, but of keys that this process wrote since what it wrote, and
        with what it has not written yet on top.
        """
        for key_id in self._newer:
            remote[key_id] = self._view.get(key_id, WELL)
        self._view = {key_id: health for key_id, health in remote.items() if health != WELL}
        for key_id in self._pending:
            self._adopt_key(key_id, self._view.get(key_id, WELL))

    def _adopt_key(self, key_id: str, health: KeyHealth) -> None:
        for event in self._pending.get(key_id, ()):
            health = breaker.step(health, event, self._now_ms())
        self._set_view(key_id, health)

    async def _write_pending(self) -> None:
        try:
            while self._pending:
                key_id, events = next(iter(self._pending.items()))
                taken = len(events)
                written: KeyHealth | None = None
                try:
                    # Without Redis the local view goes on; it learns of the rest by new failures.
                    with suppress(RedisError, OSError):
                        written = await self._apply(key_id, events[:taken])
                finally:
                    del events[:taken]
                    if not events:
                        self._pending.pop(key_id, None)
                if written is not None:
                    self._newer.add(key_id)
                    self._adopt_key(key_id, written)
        finally:
            self._writer = None

    async def _apply(self, key_id: str, events: Sequence[Event]) -> KeyHealth:
        for _ in range(_TRIES):
            stored: Any = await self._redis.hget(KEY, key_id)
            before = KeyHealth.from_json(stored)
            after = before
            for event in events:
                after = breaker.step(after, event, self._now_ms())
            if after == before:
                return after
            value = b"" if after == WELL else after.to_json()
            if await self._replace(keys=[KEY], args=[key_id, stored or b"", value]):
                return after
        return before

    async def _take_probe(self, key_id: str) -> bool:
        """Whether this process now holds the one probe of a key.

        Without Redis each process probes for itself: a probe is an ordinary paid call, and money
        has its own gate.
        """
        token = secrets.token_hex(8)
        started = ProbeStarted(token)
        try:
            after = await self._apply(key_id, [started])
        except (RedisError, OSError):
            after = breaker.step(self._view.get(key_id, WELL), started, self._now_ms())
        self._newer.add(key_id)
        self._set_view(key_id, after)
        if after.probe != token:
            return False
        self._probes[key_id] = token
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep_probes())
        return True

    async def _keep_probes(self) -> None:
        """Renew the leases of probes under way: a slow probe is not joined by a second one."""
        while self._probes:
            await asyncio.sleep(breaker.PROBE_LEASE_MS / 3000)
            for key_id, token in list(self._probes.items()):
                self._note(key_id, ProbeRenewed(token))


def _barred(keys: Sequence[KeyHealth], now_ms: int) -> Barred:
    """The soonest key decides: it is what a caller waits for."""

    def free_at(health: KeyHealth) -> int:
        if health.state is KeyState.CLOSED:
            return health.cooldown_ms
        return max(health.due_ms, health.cooldown_ms)

    soonest = min(keys, key=free_at)
    wait_s = max(_SHORTEST_WAIT_S, (free_at(soonest) - now_ms) / 1000)
    if soonest.state is KeyState.CLOSED:
        return Barred(wait_s, soonest.reason or "cooling down", is_down=False, account_level=False)
    paused = soonest.state is KeyState.PAUSED
    if soonest.probe:
        wait_s = max(wait_s, 1.0)  # a probe is under way: its answer takes about that long
    return Barred(wait_s, soonest.reason, is_down=not paused, account_level=paused)
