"""Leave to send a call: a healthy key whose rate and concurrency have room.

Where a provider has several keys, each is asked whether it has room now; only then one is waited
for. A call is admitted shortly before its turn, so that money can be reserved meanwhile.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Final

from shared.catalog.spec import ProviderSpec
from shared.domain.values import made_often
from worker.providers.errors import NotAdmitted, ProviderBusy, ProviderDown
from worker.providers.health import Available, Barred, HealthBoard
from worker.providers.permits import Delay, Permit
from worker.providers.prepared_call import PreparedCall
from worker.providers.registry import ProviderKey, ProviderRegistry
from worker.providers.throttle import Throttle

_LEAD_S: Final = 0.5
"""How long before its turn a call is admitted, so that reserving and recording it do not delay it:
calls that all leave late leave together, and a provider that counts seconds refuses them."""
_TOGETHER_S: Final = 0.25
"""Calls whose turns are that near are admitted in one moment: their reservations and intents then
go in one exchange and one commit."""
_OFFSET_S: Final = os.getpid() * 0.618 % 1 * _TOGETHER_S
"""Not all processes of a machine in the same moment."""
_OTHER_KEY_S: Final = 0.25


@made_often(frozen=True, slots=True)
class Admission:
    """Leave to send one call with one key, not before `turn_at` in the loop's time (0: now); give
    it back by `send` or by `abandon`.
    """

    key: ProviderKey
    permit: Permit
    is_probe: bool = False
    turn_at: float = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether its key lets calls go no faster than they come."""
        return self.permit.wait_s > _LEAD_S

    @property
    def key_id(self) -> str:
        """The key's public name: provider, colon, eight hex digits of its hash."""
        return self.key.key_id


class Admitting:
    """Admits calls by the keys' load, health and rate. Lives in one event loop."""

    def __init__(
        self,
        registry: ProviderRegistry,
        throttle: Throttle,
        health: HealthBoard,
        *,
        max_wait_s: float,
    ) -> None:
        self._registry = registry
        self._throttle = throttle
        self._health = health
        self._max_wait_s = max_wait_s

    async def admit(self, prepared: PreparedCall) -> Admission:
        """Leave to send, with a healthy key, after waiting for its rate for a few seconds at most;
        shortly before its turn, which `await_turn` waits for.

        Raises ProviderBusy or ProviderDown when that would take longer, UnavailableError when
        limits are set and Redis does not answer.
        """
        provider = prepared.provider
        keys = self._registry.keys_by_load(provider.name)
        if not keys:
            raise ProviderDown(60.0, f"{provider.name} has no key")
        if len(keys) > 1:
            return await self._admit_by_one_of(prepared, {key.key_id: key for key in keys})
        (key,) = keys
        found = await self._health.available((key.key_id,))
        if isinstance(found, Barred):
            raise _refusal(provider, found)
        outcome = await self._try_key(prepared, key, found, self._max_wait_s)
        if isinstance(outcome, Admission):
            return outcome
        raise _at_its_limits(provider, outcome.seconds)

    async def _admit_by_one_of(
        self, prepared: PreparedCall, keys: Mapping[str, ProviderKey]
    ) -> Admission:
        """With several keys each is asked whether it has room now; only then one is waited for."""
        provider = prepared.provider
        left, delays = dict(keys), dict[str, float]()
        while left:
            found = await self._health.available(tuple(left))
            if isinstance(found, Barred):
                if not delays:
                    raise _refusal(provider, found)
                break
            outcome = await self._try_key(prepared, left.pop(found.key_id), found, 0.0)
            if isinstance(outcome, Admission):
                return outcome
            delays[found.key_id] = outcome.seconds
        soonest = self._least_awaited(delays)
        again = await self._try_key(prepared, keys[soonest], Available(soonest), self._max_wait_s)
        if isinstance(again, Admission):
            return again
        delays[soonest] = again.seconds
        raise _at_its_limits(provider, min(delays.values()))

    async def await_turn(self, admission: Admission) -> None:
        """Wait for what is left until the call may leave; call it right before `send`."""
        if not admission.turn_at:
            return
        turn_at = admission.turn_at
        if self._throttle.may_ask_early(admission.permit):
            turn_at = _moment_before(turn_at)
        left_s = turn_at - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)
        await self._throttle.depart(admission.permit)

    def withdrawn(self, prepared: PreparedCall, admission: Admission) -> NotAdmitted | None:
        """Why an admitted call must not leave after all: its key fell sick while it waited for a
        slot. Without this, all who wait would ask a provider that just went down.
        """
        if admission.is_probe or self._health.barred_now([admission.key_id]) is None:
            return None
        keys = self._registry.keys_by_load(prepared.provider.name)
        barred = self._health.barred_now([key.key_id for key in keys])
        if barred is None:
            return ProviderBusy(_OTHER_KEY_S, f"{prepared.provider.name}: another key is well")
        return _refusal(prepared.provider, barred)

    def abandon(self, admission: Admission) -> None:
        """Give an admission back unused (the money was refused)."""
        self._registry.ended(admission.key_id)
        if admission.is_probe:
            self._health.release_probe(admission.key_id)
        self._throttle.cancel(admission.permit)

    async def _try_key(
        self, prepared: PreparedCall, key: ProviderKey, found: Available, patience: float
    ) -> Admission | Delay:
        tokens = prepared.input_token_bound + prepared.max_output_tokens
        self._registry.started(key.key_id)  # those who wait for a key weigh on it too
        admission: Admission | None = None
        try:
            outcome = await self._throttle.acquire(
                prepared.provider,
                key.key_id,
                tokens,
                model=prepared.model.upstream,
                output_tokens=prepared.max_output_tokens,
                max_wait_s=patience,
            )
            if isinstance(outcome, Delay):
                return outcome
            turn_at = 0.0
            if outcome.wait_s:
                turn_at = asyncio.get_running_loop().time() + outcome.wait_s
                await self._come_near(outcome)
            admission = Admission(key, outcome, found.is_probe, turn_at)
            return admission
        finally:
            if admission is None:
                self._registry.ended(key.key_id)
                if found.is_probe:
                    self._health.release_probe(key.key_id)

    def _least_awaited(self, delays: Mapping[str, float]) -> str:
        """Of the keys that have room in time, the one with the fewest calls here: many callers see
        the same delays at once, and the shortest would draw them all.
        """

        def order(key_id: str) -> tuple[bool, int, float]:
            delay = delays[key_id]
            return delay > self._max_wait_s, self._registry.load_of(key_id), delay

        return min(delays, key=order)

    async def _come_near(self, permit: Permit) -> None:
        if permit.wait_s <= _LEAD_S:
            return
        now = asyncio.get_running_loop().time()
        wake_at = _moment_before(now + permit.wait_s - _LEAD_S)
        try:
            await asyncio.sleep(max(0.0, wake_at - now))
        except BaseException:
            self._throttle.cancel(permit)
            raise


async def until_others_are_ready() -> None:
    """Wait for the next of the moments at which calls are admitted: what those do that ended until
    then goes in one commit and one exchange, with what those need that begin.
    """
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(_moment_before(now) + _TOGETHER_S - now)


def _moment_before(moment: float) -> float:
    """The last of this process's moments at which calls do things together."""
    return (moment - _OFFSET_S) // _TOGETHER_S * _TOGETHER_S + _OFFSET_S


def _at_its_limits(provider: ProviderSpec, seconds: float) -> ProviderBusy:
    return ProviderBusy(seconds, f"the limits of {provider.name} are reached")


def _refusal(provider: ProviderSpec, barred: Barred) -> ProviderBusy | ProviderDown:
    reason = f"{provider.name}: {barred.reason}"
    if barred.is_down:
        return ProviderDown(barred.seconds, reason)
    return ProviderBusy(barred.seconds, reason, account_level=barred.account_level)
