"""How a worker is heard by those who wait: pieces of a streamed answer, and the end of a job.

A voice never holds up the call it speaks of: what is said while a frame is on its way to Redis goes
out together with the next one. Each frame comes back with the number of its listeners. When there
has been none for a while the client has hung up, and the call is not worth its money any more.
A Redis that does not answer says nothing about the client: the call goes on, and the answer is
read from the database.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.db.repositories import awaited
from shared.domain.inference import JsonObject
from shared.live_answers import Ended, LiveFrame, Spoken, Waiting, channel_of, to_bytes

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
GONE_AFTER_S: Final = 0.75
"""How long nobody may listen before the client counts as gone: a waiter whose connection to Redis
broke listens again well within it."""


class Voice:
    """The voice of one streamed job under one claim; lives in the worker's event loop."""

    def __init__(self, redis: Redis, batch_id: str, line: int, run: str) -> None:
        self._redis = redis
        self._channel = channel_of(batch_id)
        self._line = line
        self._run = run
        self._said: list[JsonObject] = []
        self._number = 0
        self._model = ""
        self._pump: asyncio.Task[None] | None = None
        self._unheard_since: float | None = None
        self.has_spoken = False
        self.is_gone = False

    def begin(self, model: str) -> None:
        """The pieces that follow are this model's; its name in the catalog."""
        self._model = model

    def say(self, choices: Sequence[JsonObject]) -> None:
        """Send choices of a chunk on their way; returns at once."""
        self.has_spoken = True
        self._said.extend(choices)
        if self._pump is None:
            self._pump = asyncio.create_task(self._speak())

    async def until_gone(self) -> None:
        """Return when nobody has listened for a while; otherwise never."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._pump is None:
                await self._publish(Waiting(self._line))
            since = self._unheard_since
            if since is not None and loop.time() - since >= GONE_AFTER_S:
                self.is_gone = True
                return

    async def finish(self, row: Mapping[str, Any]) -> None:
        """Return when all that was said is on its way, and that the job has ended with this row of
        `results`, which is durable by now.
        """
        if self._pump is not None:
            await self._pump
        await self._publish(Ended(self._line, awaited.told(row)))

    async def _speak(self) -> None:
        try:
            while self._said:
                choices, self._said = self._said, []
                number, self._number = self._number, self._number + 1
                await self._publish(Spoken(self._line, self._run, number, self._model, choices))
        finally:
            self._pump = None

    async def _publish(self, frame: LiveFrame) -> None:
        try:
            listeners = await self._redis.publish(self._channel, to_bytes(frame))
        except (RedisError, OSError) as error:
            log.warning("a waiting client was not told", reason=type(error).__name__)
            self._unheard_since = None
            return
        if listeners:
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = asyncio.get_running_loop().time()


class Speaker:
    """One a process, in its event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def voice(self, batch_id: str, line: int, run: str) -> Voice:
        """The voice of a job under a claim."""
        return Voice(self._redis, batch_id, line, run)
