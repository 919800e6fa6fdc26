"""Waiting for a conversation's end, and telling a streamed one while it comes.

The API never calls a provider: it listens for what a worker tells (`listening`), last of all the
job's result. It also looks for that in the database: every two seconds, in case a frame was missed,
several times a second while Redis is lost, and where the result was too long to be told.

A client that hangs up calls its conversation off. One that may send the same request again (it
named a key, or counts its tries as OpenAI's SDK does) is waited for a moment first, as long as
nothing of the answer was told: the second request finds the call of the first one still running.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from producer.api.chat_answers import KEEP_ALIVE, TIMED_OUT, Chunks
from producer.api.listening import Attention
from producer.chat import Conversation, Conversations
from shared.db.repositories import awaited
from shared.db.repositories.results import ResultRow
from shared.live_answers import Ended, LiveFrame, Spoken

_LOOK_EVERY_S: Final = 2.0
_LOOK_WHEN_DEAF_S: Final = 0.25
_KEEP_ALIVE_S: Final = 15.0
_LINGER_S: Final = 2.0
"""OpenAI's SDK sends a request again after half a second to one second, twice at most."""
_NO_BUFFER: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@dataclass(frozen=True, slots=True)
class Left:
    """The client has hung up."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """The time for the answer is over."""


@dataclass(frozen=True, slots=True)
class Over:
    """All jobs have ended: their rows of the results, in input order."""

    rows: Sequence[ResultRow]


Event = Spoken | Over | Left | TooLate


class Wait:
    """One client's wait for one conversation. Lives as long as the request."""

    def __init__(
        self,
        request: Request,
        conversations: Conversations,
        conversation: Conversation,
        attention: Attention,
        patience_s: float,
        *,
        may_be_over: bool = False,
        may_come_again: bool = False,
    ) -> None:
        """may_be_over: it began before it was listened to, so the first look is at once.
        may_come_again: the client sends the request once more where it gets no answer.
        """
        self._conversations = conversations
        self._conversation = conversation
        self._attention = attention
        self._deadline = time.monotonic() + patience_s
        self._left = asyncio.ensure_future(_until_left(request))
        self._frame: asyncio.Future[LiveFrame] = asyncio.ensure_future(attention.next())
        self._ended: dict[int, ResultRow | None] = {}
        self._is_over = False
        self._looks_at_once = may_be_over
        self._may_come_again = may_come_again

    async def next(self) -> Event:
        """What happens next; nothing after Over, Left and TooLate."""
        while True:
            await asyncio.wait(
                (self._frame, self._left),
                timeout=self._pause_s(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._left.done():
                return Left()
            if not self._frame.done():
                event: Event | None = await self._look()
            else:
                frame = self._frame.result()
                self._frame = asyncio.ensure_future(self._attention.next())
                event = await self._take(frame)
            if event is not None:
                return event

    async def the_end(self) -> Over | Left | TooLate:
        """How it ends, without what is told on the way."""
        while True:
            event = await self.next()
            if not isinstance(event, Spoken):
                return event

    def told(self) -> None:
        """The client has been told something: it will not ask the same again by itself."""
        self._may_come_again = False

    async def close(self) -> None:
        """Wait no more; a conversation that is not over is called off, unless somebody else waits
        for it.
        """
        if self._left.done() and self._may_come_again:
            await self._linger()
        self._left.cancel()
        self._frame.cancel()
        await asyncio.gather(self._left, self._frame, return_exceptions=True)
        if not self._is_over and not await self._attention.is_shared():
            await run_in_threadpool(self._conversations.abandon, self._conversation)

    def _pause_s(self) -> float:
        if self._looks_at_once:
            self._looks_at_once = False
            return 0.0
        pause = _LOOK_WHEN_DEAF_S if self._attention.is_deaf else _LOOK_EVERY_S
        return min(pause, max(0.0, self._deadline - time.monotonic()))

    async def _take(self, frame: LiveFrame) -> Event | None:
        if isinstance(frame, Spoken):
            return frame
        if isinstance(frame, Ended):
            self._ended[frame.line] = awaited.heard(frame.result)
            if len(self._ended) == self._conversation.lines:
                return self._heard() or await self._look()
        return None

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self._is_over:
                    frame = await self._frame
                    self._frame = asyncio.ensure_future(self._attention.next())
                    await self._take(frame)

    def _heard(self) -> Over | None:
        rows = [row for _, row in sorted(self._ended.items()) if row is not None]
        return self._over(rows)

    async def _look(self) -> Over | TooLate | None:
        rows = await run_in_threadpool(self._conversations.ended, self._conversation)
        if over := self._over(rows):
            return over
        return TooLate() if time.monotonic() >= self._deadline else None

    def _over(self, rows: Sequence[ResultRow]) -> Over | None:
        if len(rows) < self._conversation.lines:
            return None
        self._is_over = True
        return Over(rows)


class Relay(Response):
    """A streamed answer on its way to the client: what a worker tells, as server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self,
        wait: Wait,
        first: Event,
        chunks: Chunks,
        closing: AsyncExitStack,
        headers: Mapping[str, str],
    ) -> None:
        """`closing` is closed when the answer is over: the wait and what it listens by."""
        super().__init__(headers={**_NO_BUFFER, **headers})
        del self.headers["content-length"]
        self._wait = wait
        self._first = first
        self._chunks = chunks
        self._closing = closing
        self._missed = False
        self._run: str | None = None
        self._number = 0

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it all, or stop where the client hangs up."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with self._closing, aclosing(self._events()) as all_events:
            self._wait.told()
            await send(start)
            async for events in all_events:
                if events:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes]:
        event = self._first
        while True:
            match event:
                case Spoken():
                    yield self._spoken(event)
                case Over(rows):
                    # Nothing was heard of an answer that is there: all of it is still to be told.
                    missed = self._missed or not self._chunks.has_begun
                    yield self._chunks.end(rows[0], missed=missed)
                    return
                case Left():
                    return
                case TooLate():
                    yield self._chunks.broken(TIMED_OUT)
                    return
            waiting = asyncio.ensure_future(self._wait.next())
            try:
                while not (await asyncio.wait((waiting,), timeout=_KEEP_ALIVE_S))[0]:
                    yield KEEP_ALIVE
                event = waiting.result()
            finally:
                waiting.cancel()

    def _spoken(self, told: Spoken) -> bytes:
        if self._run is None and told.number == 0:
            self._run = told.run
        if told.run != self._run or told.number != self._number:
            self._missed = True  # the rest is read from the database when it is all there
        if self._missed:
            return b""
        self._number += 1
        return self._chunks.of(told.model, told.choices)


async def _until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
