"""From a prepared call to its answer: sent once, read by its wire, with a usage in any case."""

from dataclasses import replace

from shared.clock import utc_now
from shared.domain.inference import Completion, Usage
from worker.providers.errors import MaybeBilled, ProviderError
from worker.providers.hearing import Hearing, Listener
from worker.providers.http import HttpSender
from worker.providers.permits import Permit
from worker.providers.prepared_call import PreparedCall
from worker.providers.registry import ProviderKey, ProviderRegistry
from worker.providers.throttle import Throttle


class Answering:
    """Sends calls and reads what comes back. Lives in one event loop."""

    def __init__(self, registry: ProviderRegistry, throttle: Throttle, sender: HttpSender) -> None:
        self._registry = registry
        self._throttle = throttle
        self._sender = sender

    async def ask(
        self,
        prepared: PreparedCall,
        key: ProviderKey,
        permit: Permit,
        listener: Listener | None,
    ) -> Completion:
        """The answer to the call of this permit. Raises ProviderError."""
        wire = self._registry.wire(prepared.provider.name)
        auth = wire.auth_headers(key.secret)
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
        self._throttle.heard(key.key_id, prepared.model.upstream, headers, permit)
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
