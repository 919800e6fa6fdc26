"""Listening for what workers tell of the conversations that this process's clients wait for.

One connection to Redis hears all of them. Frames may be missed (Redis was lost, a connection
broke): `is_deaf` says that it is so now, and whoever waits looks into the database instead.
Lives in one event loop.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from shared.live_answers import LiveFrame, channel_of, from_bytes
from shared.redis_client import stopped

log = structlog.get_logger(__name__)

_NOBODY: Final = channel_of("")
"""Always subscribed to, so that there is always something to wait for."""
_SUBSCRIBED_WITHIN_S: Final = 1.0
_LISTEN_AGAIN_S: Final = 0.5
_LOST: Final = (RedisError, OSError, AttributeError, RuntimeError)
"""How a lost connection shows: as the last two to who uses it while another task, which found that
it is lost, lets go of it (redis-py 8 has no writer then, uvloop's closed transport takes nothing,
and two may wait for what a new one says)."""
_MOST_FRAMES: Final = 2_000
"""Kept for a client that reads slowly. What does not fit is dropped, and counts as not heard: the
rest of the answer is read from the database when it is all there."""


class Attention:
    """What one waiter hears of one conversation; several may hear the same one."""

    def __init__(self, ear: "Ear", channel: str) -> None:
        self._ear = ear
        self._channel = channel
        self._frames: asyncio.Queue[LiveFrame] = asyncio.Queue(_MOST_FRAMES)
        self.subscribed = asyncio.Event()

    @property
    def is_deaf(self) -> bool:
        """Whether frames may be missed now."""
        return self._ear.is_deaf or not self.subscribed.is_set()

    async def next(self) -> LiveFrame:
        """The next frame."""
        return await self._frames.get()

    async def is_shared(self) -> bool:
        """Whether somebody else hears this conversation, here or in another process. Not so where
        Redis cannot be asked.
        """
        return await self._ear.hearers(self._channel) > 1

    def hear(self, frame: LiveFrame) -> None:
        """Keep a frame until it is asked for, unless too many wait already."""
        with contextlib.suppress(asyncio.QueueFull):
            self._frames.put_nowait(frame)


class Ear:
    """Hears frames for all waiters of a process; connects at the first one."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._channels = client.pubsub()
        self._waiters: dict[bytes, list[Attention]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self.is_deaf = True

    @asynccontextmanager
    async def attention(self, batch_id: str) -> AsyncIterator[Attention]:
        """Hear a conversation's frames from now on, until the context ends."""
        channel = channel_of(batch_id)
        attention = Attention(self, channel)
        self._waiters.setdefault(channel.encode(), []).append(attention)
        try:
            await self._subscribe(channel, attention)
            yield attention
        finally:
            self._leave(channel, attention)

    async def is_answered(self) -> bool:
        """Whether Redis answers, within a second."""
        with contextlib.suppress(*_LOST, TimeoutError):
            async with asyncio.timeout(_SUBSCRIBED_WITHIN_S):
                return bool(await self._client.ping())
        return False

    async def hearers(self, channel: str) -> int:
        """How many hear a channel: each waiter of this process, each other process once."""
        own = len(self._waiters.get(channel.encode(), ()))
        elsewhere = 0
        with contextlib.suppress(*_LOST, TimeoutError):
            async with asyncio.timeout(_SUBSCRIBED_WITHIN_S):
                ((_, processes),) = await self._client.pubsub_numsub(channel)
                elsewhere = max(0, processes - 1)
        return own + elsewhere

    async def aclose(self) -> None:
        """Hear nothing more."""
        if self._listening is not None:
            await stopped(self._listening, *self._leaving)
        with contextlib.suppress(*_LOST):
            await self._channels.aclose()  # type: ignore[no-untyped-call]
            await self._client.aclose()

    async def _subscribe(self, channel: str, attention: Attention) -> None:
        try:
            async with asyncio.timeout(_SUBSCRIBED_WITHIN_S):
                async with self._lock:
                    if self._listening is None:
                        await self._channels.subscribe(_NOBODY)
                        self._listening = asyncio.create_task(self._listen())
                    await self._channels.subscribe(channel)
                await attention.subscribed.wait()
        except (*_LOST, TimeoutError) as error:
            log.warning("a conversation cannot be listened to", reason=type(error).__name__)

    def _leave(self, channel: str, attention: Attention) -> None:
        waiters = self._waiters[channel.encode()]
        waiters.remove(attention)
        if waiters:
            return
        del self._waiters[channel.encode()]
        leaving = asyncio.create_task(self._unsubscribe(channel))  # the client need not wait for it
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _unsubscribe(self, channel: str) -> None:
        with contextlib.suppress(*_LOST, TimeoutError):
            async with asyncio.timeout(_SUBSCRIBED_WITHIN_S), self._lock:
                if channel.encode() not in self._waiters:  # nobody came meanwhile
                    await self._channels.unsubscribe(channel)

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._channels.get_message(timeout=None)
            except _LOST as error:
                if not self.is_deaf:
                    log.warning("what workers tell is not heard", reason=type(error).__name__)
                self.is_deaf = True
                await asyncio.sleep(_LISTEN_AGAIN_S)
                continue
            self.is_deaf = False
            if message is not None:
                self._take(message)

    def _take(self, message: dict[str, object]) -> None:
        waiters: list[Attention] = self._waiters.get(message["channel"], [])  # type: ignore[call-overload]
        if not waiters:
            return
        if message["type"] == "subscribe":
            for waiter in waiters:
                waiter.subscribed.set()
        elif message["type"] == "message":
            try:
                frame = from_bytes(message["data"])  # type: ignore[arg-type]
            except (ValueError, KeyError, TypeError):
                log.warning("a frame could not be read")
                return
            for waiter in waiters:
                waiter.hear(frame)
