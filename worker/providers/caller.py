"""The door of this room: prepare a call, have it admitted, send it, or let the admission go.

Money lies between the last two steps: what `admit` grants costs nothing until `send`. Three
throttles stand in a row: this room bounds the provider's rate and concurrency, the ledger the
money, `worker.call_slots` the calls in flight of this process.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, Self

from redis.asyncio import Redis

from shared.catalog.spec import Catalog
from shared.domain.inference import Completion, Request, Usage
from worker.providers.admission import Admission, Admitting
from worker.providers.answering import Answering
from worker.providers.errors import (
    MaybeBilled,
    NotAdmitted,
    NotSent,
    ProviderError,
    Throttled,
)
from worker.providers.health import HealthBoard
from worker.providers.hearing import Listener
from worker.providers.http import HttpSender
from worker.providers.prepared_call import PreparedCall, prepared_call
from worker.providers.registry import ProviderRegistry
from worker.providers.throttle import LONGEST_PAUSE_S, Throttle


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
        self._admitting = Admitting(registry, throttle, health, max_wait_s=max_wait_s)
        self._answering = Answering(registry, throttle, sender)

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
        wire = self._registry.wire(provider.name)
        return prepared_call(model, provider, wire, request, max_tokens)

    def admit(self, prepared: PreparedCall) -> Coroutine[Any, Any, Admission]:
        """Leave to send, as `Admitting.admit` says."""
        return self._admitting.admit(prepared)

    def await_turn(self, admission: Admission) -> Coroutine[Any, Any, None]:
        """Wait for what is left until the call may leave; call it right before `send`."""
        return self._admitting.await_turn(admission)

    def withdrawn(self, prepared: PreparedCall, admission: Admission) -> NotAdmitted | None:
        """Why an admitted call must not leave after all."""
        return self._admitting.withdrawn(prepared, admission)

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
            completion = await self._answering.ask(
                prepared, admission.key, admission.permit, listener
            )
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
        self._admitting.abandon(admission)

    async def aclose(self) -> None:
        """Close the connections and let what is held in Redis go."""
        await self._throttle.aclose()
        await self._health.aclose()
        await self._sender.aclose()

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


def _tokens_of(usage: Usage) -> int:
    return usage.total_input_tokens + usage.output_tokens


def _tokens_charged(error: ProviderError) -> int | None:
    """What a failed call took of the token rate; None where that is unknown (all it asked for)."""
    if error.billed is not None:
        return _tokens_of(error.billed)
    return None if isinstance(error, MaybeBilled) else 0
