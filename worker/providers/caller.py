"""The door of this room: prepare a call, have it admitted, send it, or let the admission go.

Money lies between the last two steps: what `admit` grants costs nothing until `send`. Three
throttles stand in a row: this room bounds the provider's rate and concurrency, the ledger the
money, `worker.call_slots` the calls in flight of this process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Self

from redis.asyncio import Redis

from shared.catalog.pricing import worst_case_nusd
from shared.catalog.spec import Catalog, ModelSpec, ProviderSpec
from shared.clock import utc_now
from shared.domain.inference import Completion, Request, Usage, text_of
from shared.domain.values import made_often
from shared.tokens import input_token_bound
from worker.providers.base import EncodedCall
from worker.providers.errors import (
    MaybeBilled,
    NotAdmitted,
    NotSent,
    ProviderBusy,
    ProviderDown,
    ProviderError,
    Throttled,
)
from worker.providers.health import Available, Barred, HealthBoard
from worker.providers.hearing import Hearing, Listener
from worker.providers.http import HttpSender
from worker.providers.registry import ProviderKey, ProviderRegistry
from worker.providers.throttle import LONGEST_PAUSE_S, Delay, Permit, Throttle

_LEAD_S: Final = 0.5
"""How long before its turn a call is admitted, so that reserving and recording it do not delay it:
calls that all leave late leave together, and a provider that counts seconds refuses them."""
_THINKING: Final = frozenset({"reasoning_effort", "thinking", "reasoning"})


@made_often(frozen=True, slots=True)
class PreparedCall:
    """A call that has its worst case: tokens in and out, and what they cost in nano-dollars.

    may_think: the model may write tokens that nobody is shown. carried: headers of this call alone.
    """

    model: ModelSpec
    provider: ProviderSpec
    encoded: EncodedCall
    input_token_bound: int
    max_output_tokens: int
    worst_case_nusd: int
    may_think: bool = False
    carried: Mapping[str, str] | None = None


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
    def key_id(self) -> str:
        """The key's public name: provider, colon, eight hex digits of its hash."""
        return self.key.key_id


_OTHER_KEY_S: Final = 0.25


class ModelCaller:
    """Calls models by their catalog names. Lives in one event loop; close it with `aclose`."""

    def __init__(
        self,
        catalog: Catalog,
        registry: ProviderRegistry,
        throttle: Throttle,
        health: HealthBoard,
        sender: HttpSender,
        *,
        max_wait_s: float = 5.0,
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._throttle = throttle
        self._health = health
        self._sender = sender
        self._max_wait_s = max_wait_s

    @classmethod
    def over(
        cls,
        catalog: Catalog,
        keys: Mapping[str, tuple[str, ...]],
        redis: Redis,
        *,
        max_wait_s: float = 5.0,
    ) -> Self:
        """A caller with everything it needs. keys: provider name -> its resolved API keys.
        max_wait_s: how long a call waits here for its turn to come near.
        """
        return cls(
            catalog,
            ProviderRegistry(catalog, keys),
            Throttle(redis),
            HealthBoard(redis),
            HttpSender(),
            max_wait_s=max_wait_s,
        )

    def prepare(self, model_name: str, request: Request, max_tokens: int) -> PreparedCall:
        """The call of a model of the catalog, with its worst case. Pure and cheap.

        Raises NotSent for a model the catalog does not have or a request its wire cannot say.
        """
        model = self._catalog.models.get(model_name)
        if model is None:
            raise NotSent("unknown_model", "the catalog has no such model")
        provider = self._catalog.providers[model.provider]
        encoded = self._registry.wire(provider.name).encode(model, provider, request, max_tokens)
        bound = input_token_bound(
            len(encoded.body),
            _texts_to_count(model, request),
            len(request.messages),
            model.tokenizer,
            tools=request.wants_tools,
        )
        output = max_tokens * request.choices
        # Only a request that says so can write the dearer one-hour cache.
        hour = b'"1h"' in encoded.body
        worst = worst_case_nusd(model.price, bound, output, writes_1h_cache=hour)
        thinks = "temperature" not in model.capabilities or not _THINKING.isdisjoint(request.extras)
        return PreparedCall(model, provider, encoded, bound, output, worst, thinks)

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
        left_s = admission.turn_at - asyncio.get_running_loop().time()
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

    async def send(
        self, prepared: PreparedCall, admission: Admission, listener: Listener | None = None
    ) -> Completion:
        """The model's answer. Raises ProviderError, and nothing else but a cancellation.

        listener: hears the pieces of a streamed answer; HungUp is raised when it is gone.

        Whatever happens the admission is given back and the key's health is noted. A call that is
        cancelled may have been billed: the caller knows that it cancelled.
        """
        charged: int | None = None
        read = 0
        try:
            completion = await self._ask(prepared, admission, listener)
            charged, read = _tokens_of(completion.usage), completion.usage.total_input_tokens
        except ProviderError as error:
            error.forget(admission.key.secret)
            charged = _tokens_charged(error)
            if not self._is_paced(admission, error):
                self._health.record_failure(admission.key_id, error, is_probe=admission.is_probe)
            raise
        except BaseException:
            self._release_probe(admission)
            raise
        else:
            self._health.record_success(admission.key_id, is_probe=admission.is_probe)
            return completion
        finally:
            self._registry.ended(admission.key_id)
            if charged is not None:
                self._throttle.correct(admission.permit, charged, input_tokens=read)
            self._throttle.release(admission.permit)

    def abandon(self, admission: Admission) -> None:
        """Give an admission back unused (the money was refused)."""
        self._registry.ended(admission.key_id)
        self._release_probe(admission)
        self._throttle.cancel(admission.permit)

    async def aclose(self) -> None:
        """Close the connections and let what is held in Redis go."""
        await self._throttle.aclose()
        await self._health.aclose()
        await self._sender.aclose()

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
        try:
            await asyncio.sleep(permit.wait_s - _LEAD_S)
        except BaseException:
            self._throttle.cancel(permit)
            raise

    def _is_paced(self, admission: Admission, error: ProviderError) -> bool:
        """Whether a refusal for the rate is all the throttle's: it lets nobody leave for so long. A
        longer wait is the key's, and jobs go back to the queue.
        """
        if not isinstance(error, Throttled) or not admission.permit.is_paced:
            return False
        self._throttle.refused(admission.permit, error)
        return not admission.is_probe and (error.retry_after_s or 0.0) <= LONGEST_PAUSE_S

    def _release_probe(self, admission: Admission) -> None:
        if admission.is_probe:
            self._health.release_probe(admission.key_id)

    async def _ask(
        self, prepared: PreparedCall, admission: Admission, listener: Listener | None
    ) -> Completion:
        wire = self._registry.wire(prepared.provider.name)
        auth = wire.auth_headers(admission.key.secret)
        if prepared.carried is not None:
            auth = {**auth, **prepared.carried}
        hearing = None
        if prepared.encoded.streams:
            decoder = self._registry.stream_decoder(prepared.provider.name)
            hearing = Hearing(decoder, listener, _bounds_of(prepared))
        sending = self._sender.send(
            prepared.provider, auth, prepared.encoded, hearing.take if hearing else None
        )
        if hearing is None:
            status, headers, body = await sending
        else:
            status, headers, body = await hearing.while_heard(sending)
        if not 200 <= status < 300:  # noqa: PLR2004 - the class of success
            told = {name.lower(): value for name, value in headers.items()}
            raise wire.classify_error(status, told, body, utc_now())
        try:
            if hearing is not None and hearing.has_begun:
                return _completed(hearing.decoder.completion(), prepared)
            completion = wire.decode(body)
            _check_kind(completion, prepared)
            if hearing is not None:
                hearing.take_whole(completion)
        except ProviderError:
            raise
        except Exception as error:
            # Not expected of any wire; should it happen, it happened to an answer that was paid.
            raise MaybeBilled("garbage", type(error).__name__) from error
        return _completed(completion, prepared)


def _texts_to_count(model: ModelSpec, request: Request) -> Sequence[str]:
    """What the model's own tokenizer counts; without one the bytes are counted alone."""
    if model.tokenizer is None:
        return ()
    return [text_of(message.get("content")) for message in request.messages]


def _check_kind(completion: Completion, prepared: PreparedCall) -> None:
    """An answer where an answer was asked for, and as many embeddings as inputs."""
    vectors = completion.body.get("data") if completion.body.get("object") == "list" else None
    if (len(vectors) if vectors is not None else 0) != prepared.encoded.vectors:
        usage = None if completion.body.get("usage") is None else completion.usage
        raise MaybeBilled("garbage", "the answer has another number of embeddings", billed=usage)


def _bounds_of(prepared: PreparedCall) -> Usage | None:
    """The most a call can have used whose text is all that its model wrote; None of a model that
    may think unseen.
    """
    if prepared.may_think:
        return None
    return Usage(input_tokens=prepared.input_token_bound, output_tokens=prepared.max_output_tokens)


def _completed(completion: Completion, prepared: PreparedCall) -> Completion:
    """The answer with what a pure decoder cannot know: the time, and a missing usage.

    An answer without usage is kept and counted at the call's bounds: the most it can have cost.
    """
    if completion.body.get("created") and completion.body.get("usage") is not None:
        return completion
    body = dict(completion.body)
    if not prepared.encoded.vectors:
        body["created"] = body.get("created") or int(utc_now().timestamp())
    usage = completion.usage
    if body.get("usage") is None:
        usage = Usage(
            input_tokens=prepared.input_token_bound, output_tokens=prepared.max_output_tokens
        )
    return replace(completion, body=body, usage=usage)


def _tokens_of(usage: Usage) -> int:
    return usage.total_input_tokens + usage.output_tokens


def _tokens_charged(error: ProviderError) -> int | None:
    """What a failed call took of the token rate; None where that is unknown (all it asked for)."""
    if error.billed is not None:
        return _tokens_of(error.billed)
    return None if isinstance(error, MaybeBilled) else 0


def _at_its_limits(provider: ProviderSpec, seconds: float) -> ProviderBusy:
    return ProviderBusy(seconds, f"the limits of {provider.name} are reached")


def _refusal(provider: ProviderSpec, barred: Barred) -> ProviderBusy | ProviderDown:
    reason = f"{provider.name}: {barred.reason}"
    if barred.is_down:
        return ProviderDown(barred.seconds, reason)
    return ProviderBusy(barred.seconds, reason, account_level=barred.account_level)
