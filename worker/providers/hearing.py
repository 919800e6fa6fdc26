"""A streamed answer on its way: from the socket through its wire's decoder to whoever listens.

When the listener is gone before the answer is complete, the call is cut. What it had used by then
is counted here, for the provider's own count is lost with the rest of the stream.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from shared.domain.inference import Completion, JsonObject, Usage
from shared.redis_client import stopped
from worker.providers.errors import HungUp, MaybeBilled, ProviderError
from worker.providers.exchange import Answer
from worker.providers.server_sent_events import EventReader
from worker.providers.streaming import StreamDecoder, as_deltas

_ON_THE_WAY: Final = 64
"""Tokens that a provider may write between the last one we saw and its notice of the cut."""


class Listener(Protocol):
    """Whoever reads a streamed answer along."""

    def say(self, choices: Sequence[JsonObject]) -> None:
        """Take choices of a chunk, in OpenAI's shape; must not block."""

    async def until_gone(self) -> None:
        """Return when nobody listens any more."""


class Hearing:
    """One streamed answer. bounds: the most the call can use, None where that is not known from
    what is shown. Without a listener nothing is told and nothing is cut.
    """

    def __init__(
        self, decoder: StreamDecoder, listener: Listener | None, bounds: Usage | None
    ) -> None:
        self.decoder = decoder
        self.has_begun = False
        self._events = EventReader()
        self._listener = listener
        self._bounds = bounds

    def take(self, part: bytes) -> None:
        """Decode the next bytes and tell what they hold. Raises ProviderError."""
        self.has_begun = True
        for event in self._events.feed(part):
            try:
                choices = self.decoder.feed(event)
            except ProviderError:
                raise
            except Exception as error:
                # A foreign event of an unknown shape, in an answer that is being paid for.
                raise MaybeBilled("garbage", type(error).__name__) from error
            if choices and self._listener is not None:
                self._listener.say(choices)

    def take_whole(self, completion: Completion) -> None:
        """Tell an answer of a host that does not stream, in one piece."""
        if self._listener is not None:
            self._listener.say(as_deltas(completion))

    async def while_heard(self, sending: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer of the call; raises HungUp when the listener is gone before it is there."""
        if self._listener is None:
            return await sending
        call = asyncio.ensure_future(sending)
        gone = asyncio.ensure_future(self._listener.until_gone())
        try:
            await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
        finally:
            await stopped(call, gone)
        raise HungUp("client_gone", "nobody waited for the answer", billed=self._used())

    def _used(self) -> Usage | None:
        """An upper bound of what the call had used: a token is a byte of text at least.

        None (so that all of its reservation is charged) where nothing was shown yet, or more may
        have been written than was shown.
        """
        written = self.decoder.written_bytes
        if not written or self._bounds is None:
            return None
        output = min(written + _ON_THE_WAY, self._bounds.output_tokens)
        known = self.decoder.usage
        if known is None or not known.total_input_tokens:
            return replace(self._bounds, output_tokens=output)
        return replace(known, output_tokens=max(output, known.output_tokens))
